from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freehold.core.errors import InputError
from freehold.economics.decoder import model_from_config
from freehold.economics.facts import hardware, known_hardware, known_models, model_facts, precision_in
from freehold.economics.precision import PRECISIONS, precision_of

H100 = hardware("h100")
SMALL = {
    "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 128, "vocab_size": 1000, "max_position_embeddings": 512,
}  # fmt: skip


def facts(**changed: Any) -> Any:  # Any: a configuration has fields of every kind
    return model_from_config({**SMALL, **changed}, name="small", source="config.json")


EXACT = [
    # as model listings and public code count the published files; a dense model to the last weight
    ("smollm2-135m", 134_515_008),
    ("smollm2-360m", 361_821_120),
    ("smollm2-1.7b", 1_711_376_384),
    ("llama-2-7b", 6_738_415_616),
    ("llama-2-13b", 13_015_864_320),
    ("llama-2-70b", 68_976_648_192),
    ("llama-3-8b", 8_030_261_248),
    ("llama-3-70b", 70_553_706_496),
    ("llama-3.1-8b", 8_030_261_248),
    ("llama-3.1-70b", 70_553_706_496),
    ("llama-3.1-405b", 405_853_388_800),
    ("llama-3.2-1b", 1_235_814_400),
    ("llama-3.2-3b", 3_212_749_824),
    ("llama-3.3-70b", 70_553_706_496),
    ("qwen-1.8b", 1_836_828_672),
    ("qwen-7b", 7_721_324_544),
    ("qwen-14b", 14_167_290_880),
    ("qwen-72b", 72_287_920_128),
    ("qwen2.5-0.5b", 494_032_768),
    ("qwen2.5-1.5b", 1_543_714_304),
    ("qwen2.5-3b", 3_085_938_688),
    ("qwen2.5-7b", 7_615_616_512),
    ("qwen2.5-14b", 14_770_033_664),
    ("qwen2.5-32b", 32_763_876_352),
    ("qwen2.5-72b", 72_706_203_648),
    ("qwen3-0.6b", 596_049_920),
    ("qwen3-1.7b", 1_720_574_976),
    ("qwen3-4b", 4_022_468_096),
    ("qwen3-8b", 8_190_735_360),
    ("qwen3-14b", 14_768_307_200),
    ("qwen3-32b", 32_762_123_264),
    ("mistral-7b", 7_248_023_552),
    ("mistral-nemo-12b", 12_247_782_400),
    ("mistral-small-24b", 23_572_403_200),
    ("mistral-large-123b", 122_610_069_504),
    ("gemma-3-1b", 999_885_952),
    ("gemma-3-4b", 3_880_263_168),
    # listings have 64 words fewer of 5,376, the size of the tokenizer: 27,009,002,240
    ("gemma-3-27b", 27_009_002_240 + 64 * 5376),
    # and these mixtures
    ("mixtral-8x7b", 46_702_792_704),
    ("mixtral-8x22b", 140_630_071_296),
    ("qwen3-30b-a3b", 30_532_122_624),
    ("qwen3-235b-a22b", 235_093_634_560),
]


@pytest.mark.parametrize(
    ("name", "parameters"),
    EXACT,
)
def test_models_have_the_published_number_of_weights(name: str, parameters: int) -> None:
    assert model_facts(name).parameters == parameters


NEARLY = [
    # biases of experts, router, output and sinks are left out: 6.7 and 39.9 million
    ("gpt-oss-20b", 20_914_757_184),
    ("gpt-oss-120b", 116_829_156_672),
    # norms of the compressed vectors and biases of the router: 0.1 million
    ("deepseek-v3", 671_026_419_200),
    ("deepseek-r1", 671_026_419_200),
]


@pytest.mark.parametrize(
    ("name", "parameters"),
    NEARLY,
)
def test_what_is_left_out_is_a_two_thousandth_at_most(name: str, parameters: int) -> None:
    assert 0 < parameters - model_facts(name).parameters < parameters / 2000


ROUNDED = [
    ("mixtral-8x7b", 46.7, 12.9),
    ("mixtral-8x22b", 141, 39),
    ("qwen3-30b-a3b", 30.5, 3.3),
    ("qwen3-235b-a22b", 235, 22),
    ("qwen3-next-80b-a3b", 80, 3.5),
    ("qwen3.5-27b", 27, 27),
    ("qwen3.5-397b-a17b", 397, 17),
    ("qwen3.5-122b-a10b", 122, 10),
    ("gpt-oss-20b", 20.9, 3.6),
    ("gpt-oss-120b", 116.8, 5.1),
    ("deepseek-v3", 671, 37),
    ("kimi-k2", 1026, 32),
    ("kimi-k2-thinking", 1026, 32),
    ("kimi-k2.5", 1026, 32),
    ("glm-5", 744, 40),
    ("minimax-m2.5", 229, 10),
    ("gemma-3-12b", 11.8, 11.8),
    ("gemma-3-27b", 27.0, 27.0),
]


@pytest.mark.parametrize(
    ("name", "billions", "active_billions"),
    ROUNDED,
)
def test_mixtures_have_the_published_weights_and_active_weights(
    name: str, billions: float, active_billions: float
) -> None:
    model = model_facts(name)
    assert model.parameters / 1e9 == pytest.approx(billions, rel=0.005)
    # cards count the input embedding, which nothing is multiplied with
    assert model.active_parameters / 1e9 == pytest.approx(active_billions, rel=0.12)


def test_every_model_but_those_named_is_compared_with_a_published_total() -> None:
    compared = {row[0] for rows in (EXACT, NEARLY, ROUNDED) for row in rows}
    # 34.7 billion are counted of "35B": half a percent would not tell a fault from its rounding
    assert set(known_models()) - compared == {"qwen3.5-35b-a3b"}


@pytest.mark.parametrize("machine", known_hardware())
def test_data_sheets_agree_with_themselves(machine: str) -> None:
    device = hardware(machine)
    if device.kind != "gpu":
        return
    # every step down in precision doubles the rate; B300 and GB300 triple it for fp4; GeForce cards multiply int8
    # four times as fast as 16 bits, since those are added up in 32 bits at half the rate
    fp8, fp4 = device.tflops.get("fp8"), device.tflops.get("fp4")
    assert fp8 is None or fp8 / device.tflops["bf16"] == pytest.approx(2.0, rel=0.02)
    times = 3.0 if machine in {"b300", "gb300"} else 4.0 if machine == "rtx-5090" else 2.0
    assert fp4 is None or fp8 is None or fp4 / fp8 == pytest.approx(times, rel=0.01)
    # what has ever been sold: 16 to 288 GB, and 40 to 450 operations for each byte read
    assert 16 <= device.memory_gb <= 288
    assert 40 < device.tflops["bf16"] * 1e3 / device.bandwidth_gb_per_s < 450


def test_a_small_decoder_is_counted_by_hand() -> None:
    # attention 64×64 + 2×64×32 + 64×64 = 12,288; feed-forward 3×64×128 = 24,576; norms 128; two layers, last norm
    body = 2 * (12_288 + 24_576 + 128) + 64
    assert facts().parameters == body + 2 * 64_000
    assert facts(tie_word_embeddings=True).parameters == body + 64_000
    assert facts().active_parameters == body + 64_000
    assert facts().kv_values == 2 * 2 * 2 * 16
    assert facts(attention_bias=True).parameters - facts().parameters == 2 * (64 + 2 * 32)
    # two matrices in place of three
    assert facts(model_type="phi").parameters == facts().parameters - 2 * 64 * 128


def test_a_mixture_is_counted_by_hand() -> None:
    mixture = facts(num_experts=8, num_experts_per_tok=2, moe_intermediate_size=32, n_shared_experts=1)
    # eight experts of 3×64×32 a layer; a router of 64×8 and one shared expert that all tokens meet
    assert mixture.expert_parameters == 2 * 8 * 6144
    assert mixture.routed_parameters == 2 * 2 * 6144
    resident = 2 * (12_288 + 128 + 6144 + 512) + 64 + 64_000
    assert mixture.resident_parameters == resident
    assert mixture.active_parameters == resident + 2 * 2 * 6144
    with_dense = facts(num_experts=8, num_experts_per_tok=2, moe_intermediate_size=32, first_k_dense_replace=1)
    assert with_dense.expert_parameters == 8 * 6144
    assert facts(num_experts=8, num_experts_per_tok=2, mlp_only_layers=[0, 1]).expert_parameters == 0
    every_second = facts(num_experts=8, num_experts_per_tok=2, moe_intermediate_size=32, decoder_sparse_step=2)
    assert every_second.expert_parameters == 8 * 6144


def test_latent_attention_is_counted_by_hand() -> None:
    shape = {"kv_lora_rank": 32, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16}
    plain = facts(**shape)
    # q 64×4×24; down 64×40, up 32×4×32; out 4×16×64
    assert plain.parameters - facts().parameters == 2 * (64 * 96 + 64 * 40 + 32 * 128 + 64 * 64 - 12_288)
    assert plain.kv_values == 2 * 40
    assert (plain.is_latent, plain.is_indexed) == (True, False)
    assert facts(**shape, index_topk=2048).is_indexed
    assert facts(**shape, model_type="deepseek_v32").is_indexed
    assert facts(**shape, q_lora_rank=16).parameters - plain.parameters == 2 * (64 * 16 + 16 * 96 - 64 * 96)


def test_layers_attend_to_all_to_a_window_or_by_a_state() -> None:
    named = facts(sliding_window=100, layer_types=["sliding_attention", "full_attention"])
    assert (named.kv_values, named.window_values, named.window_tokens) == (64, 64, 100)
    assert facts(sliding_window=100).window_values == 128
    assert facts(sliding_window=100, use_sliding_window=False).window_values == 0
    assert facts(sliding_window=100, sliding_window_pattern=2).window_values == 64
    assert facts(sliding_window=100, model_type="gpt_oss").window_values == 64
    assert facts(layer_types=["sliding_attention", "full_attention"]).window_values == 0
    linear = facts(
        layer_types=["linear_attention", "full_attention"], linear_num_key_heads=2, linear_key_head_dim=8,
        linear_num_value_heads=4, linear_value_head_dim=8,
    )  # fmt: skip
    assert (linear.state_values, linear.kv_values) == (4 * 8 * 8, 64)


def test_other_names_of_the_same_fields_are_known() -> None:
    gpt2 = model_from_config(
        {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257, "n_positions": 1024},
        name="gpt2",
        source="config.json",
    )
    assert gpt2.parameters == pytest.approx(124e6, rel=0.01)  # position embeddings and biases apart
    assert facts(num_key_value_heads=None, multi_query=True).kv_heads == 1
    inner = model_from_config({"model_type": "gemma3", "text_config": SMALL}, name="small", source="config.json")
    assert inner.layers == 2


@pytest.mark.parametrize(
    ("quantised", "precision"),
    [
        (None, "bf16"),
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "mxfp4"}, "fp4"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "fp4"),
        ({"quant_method": "awq", "bits": 4}, "int4"),
        ({"quant_method": "gptq"}, "int4"),
        ({"quant_method": "gptq", "bits": 8}, "int8"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "int4"),
        ({"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"num_bits": 4}}}}, "int4"),
        ({"quant_method": "compressed-tensors", "format": "float-quantized"}, "fp8"),
        ({"quant_method": "compressed-tensors", "format": "int-quantized"}, "int8"),
    ],
)
def test_a_configuration_says_how_its_weights_were_published(quantised: object, precision: str) -> None:
    assert facts(quantization_config=quantised).published_precision == precision


def test_sixteen_bits_come_in_two_kinds() -> None:
    assert facts(torch_dtype="float16").published_precision == "fp16"
    assert facts(dtype="torch.bfloat16").published_precision == "bf16"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"hidden_size": None}, r"config\.json has no hidden_size or n_embd or d_model; a decoder's config\.json has"),
        ({"hidden_size": 0}, "hidden_size is 0; it must be 1 or more"),
        ({"hidden_size": -4}, "hidden_size is -4; it must be a whole number from 0 to 1,000,000,000"),
        ({"hidden_size": float("nan")}, "hidden_size is nan"),
        ({"hidden_size": 1e400}, "hidden_size is inf"),
        ({"hidden_size": 64.5}, r"hidden_size is 64\.5; it must be a whole number\."),
        ({"hidden_size": "64"}, "hidden_size is '64'"),
        ({"hidden_size": True}, "hidden_size is True"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000; it must be a whole number from 0 to 10,000"),
        ({"num_experts": 4, "num_experts_per_tok": 5}, "num_experts_per_tok is 5; .* from 0 to 4"),
    ],
)
def test_a_broken_configuration_is_refused_by_field(changed: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        facts(**changed)


def test_a_configuration_that_is_no_object_is_refused() -> None:
    with pytest.raises(InputError, match=r"config\.json holds no JSON object"):
        model_from_config([], name="x", source="config.json")  # type: ignore[arg-type]  # what a file may hold


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model_type": "bert"}, r"config\.json: bert writes no text by itself\. Give the file of a decoder\."),
        ({"is_encoder_decoder": True}, "llama writes no text by itself"),
        ({"attn_layer_period": 8}, r"state-space layers \(Jamba\) cannot be counted yet\. Choose another model\."),
        ({"hybrid_override_pattern": "M-M*"}, "Nemotron-H"),
        ({"attn_type_list": [0, 1]}, "lightning attention"),
        ({"linear_attn_config": {"num_heads": 32}}, "Kimi Linear"),
        ({"layer_types": ["mamba", "attention"]}, "layers of type mamba cannot be counted yet"),
    ],
)
def test_what_would_be_counted_wrongly_in_silence_is_refused(changed: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        facts(**changed)


def test_experts_are_found_under_their_other_names() -> None:
    # ERNIE 4.5 21B-A3B: experts in all layers but the first, two of them shared
    ernie = model_from_config(
        {
            "model_type": "ernie4_5_moe", "hidden_size": 2560, "num_hidden_layers": 28, "num_attention_heads": 20,
            "num_key_value_heads": 4, "intermediate_size": 12288, "moe_intermediate_size": 1536, "moe_num_experts": 64,
            "moe_k": 6, "moe_num_shared_experts": 2, "moe_layer_start_index": 1, "vocab_size": 103424,
            "max_position_embeddings": 131072, "tie_word_embeddings": True,
        },
        name="ernie", source="config.json",
    )  # fmt: skip
    assert ernie.parameters / 1e9 == pytest.approx(21.8, rel=0.01)
    assert ernie.active_parameters / 1e9 == pytest.approx(3, rel=0.12)
    # told for each layer, all the same
    assert facts(num_experts=8, moe_topk=[2, 2], moe_intermediate_size=32).experts_per_token == 2


def test_llama_4_has_a_shared_expert_and_wider_dense_layers() -> None:
    text = {
        "model_type": "llama4_text", "hidden_size": 5120, "num_hidden_layers": 48, "num_attention_heads": 40,
        "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 8192, "intermediate_size_mlp": 16384,
        "num_local_experts": 128, "num_experts_per_tok": 1, "interleave_moe_layer_step": 2, "vocab_size": 202048,
        "max_position_embeddings": 1048576,
    }  # fmt: skip
    maverick = model_from_config({"model_type": "llama4", "text_config": text}, name="x", source="config.json")
    # published: 400B in all, 17B of them active
    assert maverick.parameters / 1e9 == pytest.approx(400, rel=0.01)
    assert maverick.active_parameters / 1e9 == pytest.approx(17, rel=0.1)


def test_a_pattern_of_windows_may_be_spelled_in_letters() -> None:
    model = facts(sliding_window=100, sliding_window_pattern="LG", num_hidden_layers=4)
    assert model.window_values == model.kv_values > 0


def test_packed_fp4_is_no_int4() -> None:
    packed = {"quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized", "config_groups": {"num_bits": 4}}
    assert facts(quantization_config=packed).published_precision == "fp4"


ANYTHING = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text()))
FIELDS = st.sampled_from([*SMALL, "num_experts", "sliding_window", "kv_lora_rank", "layer_types"])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # drawing texts may take long
@given(st.dictionaries(FIELDS, ANYTHING))
def test_whatever_a_file_holds_it_is_read_or_refused(changed: dict[str, Any]) -> None:
    try:
        model = facts(**changed)
    except InputError:
        return
    assert model.parameters >= 0


def test_names_are_forgiving_and_unknown_ones_get_the_nearest() -> None:
    for name in ("h100", "H100_SXM", "h100_sxm", "NVIDIA H100", "NVIDIA H100-SXM-80GB", "NVIDIA H100 80GB HBM3"):
        assert hardware(name) is H100
    assert hardware("A100_80GB").name == hardware("A100_SXM_80").name == "a100-80gb"
    assert hardware("AMD Instinct MI300X 192GB HBM3").name == "mi300x"
    assert hardware("NVIDIA RTX PRO 6000 Blackwell Server Edition").name == "rtx-pro-6000"
    llama = model_facts("llama-3.1-8b")
    assert model_facts("Llama 3.1 8B") is llama
    assert model_facts("meta-llama/Meta-Llama-3.1-8B-Instruct") is llama
    assert model_facts("RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16") is llama
    assert model_facts("nvidia/DeepSeek-R1-0528-NVFP4").name == "deepseek-r1"
    assert hardware("NVIDIA B200-SXM-192GB").name == "b200"
    with pytest.raises(InputError, match=r"Unknown hardware 'h1000'; nearest: h100"):
        hardware("h1000")
    with pytest.raises(InputError, match=r"Unknown model '\?'; no known name resembles it; freehold capacity --list"):
        model_facts("?")
    with pytest.raises(InputError, match=r"Unknown model 'lama-3'; nearest: (\S+, ){0,2}\S+\.$"):
        model_facts("lama-3")
    with pytest.raises(InputError, match=r"The name of the hardware is empty"):
        hardware(" ")


def test_every_shipped_row_has_a_source_and_no_name_stands_for_two() -> None:
    for name in known_models():
        assert model_facts(name).source.startswith("huggingface.co/")
        assert model_facts(name).name == name
    for name in known_hardware():
        assert len(hardware(name).source) > 10
        for other in hardware(name).aliases:
            assert hardware(other).name == name


def test_a_precision_has_many_names() -> None:
    assert [precision_of(name) for name in PRECISIONS] == list(PRECISIONS)
    typed = ("BF16", "NVFP4", "float16", "AWQ", "q8-0")
    assert [precision_of(name) for name in typed] == ["bf16", "fp4", "fp16", "int4", "q8_0"]
    packed = ("FP8-Dynamic", "fp8_e5m2", "NF4", "4bit", "8-bit", "fp4_e2m1")
    assert [precision_of(name) for name in packed] == ["fp8", "fp8", "int4", "int4", "int8", "fp4"]
    assert precision_in("Qwen/Qwen3-235B-A22B-FP8") == "fp8"
    assert precision_in("meta-llama/Llama-3.1-8B-Instruct") is None
    assert precision_in("") is None
    with pytest.raises(InputError, match="Unknown precision 'fp3'; choose one of bf16, fp16"):
        precision_of("fp3")


def test_a_precision_without_a_rate_of_its_own_computes_in_bf16() -> None:
    assert H100.flops("q4_0") == H100.flops("bf16") == 989e12
    # B300 has hardly any arithmetic for int8: it is counted as fp8
    assert hardware("b300").flops("int8") == 4500e12
    assert hardware("a100-80gb").flops("fp8") == 312e12
