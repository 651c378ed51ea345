from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from freehold.core.errors import InputError
from freehold.tuning.recipe import _shipped, known_recipes, load_recipe, resolved_yaml

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", known_recipes())
def test_each_shipped_recipe_loads_and_comments_every_line(name: str) -> None:
    assert load_recipe(name).base
    lines = (_shipped() / f"{name}.yaml").read_text("utf-8").splitlines()
    values = [line for line in lines if not line.startswith("#") and not line.endswith(":")]
    assert [line for line in values if "  # " not in line] == []


def test_the_cpu_recipe_is_shipped() -> None:
    assert "smollm2-135m-cpu" in known_recipes()


def test_a_resolved_recipe_reads_back_as_itself(tmp_path: Path) -> None:
    recipe = load_recipe("smollm2-135m-cpu", ["lora.rank=8", "training.learning_rate=2e-3", "threads=2"])
    (tmp_path / "recipe.yaml").write_text(resolved_yaml(recipe))
    assert load_recipe(str(tmp_path / "recipe.yaml")) == recipe
    assert (recipe.lora.rank, recipe.training.learning_rate, recipe.threads) == (8, 0.002, 2)


def test_all_faults_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    good = resolved_yaml(load_recipe("smollm2-135m-cpu")).splitlines()
    bad = [line for line in good if not line.startswith("seed")]
    rank, epochs = (next(at for at, line in enumerate(bad) if word in line) for word in ("rank:", "epochs:"))
    bad[rank], bad[epochs] = "  rank: 0", "  epoch: 3"
    path = tmp_path / "mine.yaml"
    path.write_text("\n".join(bad))
    with pytest.raises(InputError) as error:
        load_recipe(str(path), ["training.batch_size=many"])
    assert sorted(str(error.value).splitlines()) == sorted(
        [
            f"{path}: seed is missing.",
            f"{path}, line {rank + 1}: lora.rank is 0; it must be 1 or more (8 to 64 is usual).",
            f"{path}: training.epochs is missing.",
            f"{path}, line {epochs + 1}: training.epoch is not a field of a recipe; did you mean training.epochs?",
            "option 'training.batch_size=many': training.batch_size is 'many'; it must be a whole number.",
        ]
    )


def test_an_unknown_recipe_is_told_with_the_shipped_ones() -> None:
    with pytest.raises(InputError, match=r"'nope' is neither a readable file nor a shipped recipe; shipped: gemma-3"):
        load_recipe("nope")


@pytest.mark.parametrize(
    ("text", "message"),
    [("base: [", r"line 1: this is not YAML"), ("- a\n- b", "a recipe is a mapping"), ("", "a recipe is a mapping")],
)
def test_a_file_that_is_no_recipe_is_told(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_recipe(str(path))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("rank", "is written key=value"),
        ("=3", "is written key=value"),
        ("lora.rank=[", "the value is not YAML"),
        ("base.name=x", "base is a single value and has no field 'name'"),
        ("lora.width=3", r"option 'lora\.width=3': lora\.width is not a field of a recipe"),
    ],
)
def test_a_change_that_does_not_fit_is_told(option: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_recipe("smollm2-135m-cpu", [option])


def test_a_recipe_from_before_methods_still_loads(tmp_path: Path) -> None:
    """The fields of the first release alone: an adapter over plain weights, on one device."""
    path = tmp_path / "old.yaml"
    path.write_text(
        "base: smollm2-135m\nseed: 0\nthreads: null\nprecision: auto\n"
        "lora: {rank: 8, alpha: 16, dropout: 0.0, target_modules: [q_proj], upper_layers: 10}\n"
        "training: {epochs: 1, batch_size: 16, learning_rate: 0.003, schedule: cosine, warmup: 0.05, weight_decay: 0.0,"
        " clip_norm: 1.0, max_tokens: 512, patience: null, keep: best, checkpoint_steps: 25}\n"
    )
    recipe = load_recipe(str(path))
    assert (recipe.method, recipe.weights, recipe.devices.count) == ("lora", "lora", 1)
    assert recipe.training.micro_batch_size is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["training.learning_rate=.nan"], r"learning_rate is nan; it must be a finite number \(0\.0001 to 0\.003"),
        (["training.learning_rate=.inf"], r"learning_rate is inf; it must be a finite number"),
        (["training.learning_rate=0"], r"learning_rate is 0; it must be more than 0 \("),
        (["lora.rank=2000"], r"lora\.rank is 2000; it must be 1,024 or less"),
        (["lora.target_modules=[]"], r"target_modules is \[\]; it must not be empty\."),
        (["method=dora"], r"method is 'dora'; choose 'lora', 'qlora', 'full' or 'dpo'\."),
        (["lora=3"], r"lora is 3; it must be a group of fields"),
        (["training.packing=maybe"], r"packing is 'maybe'; it must be true or false\."),
        (["dpo.beta=0"], r"dpo\.beta is 0; it must be more than 0 \(0\.05 to 0\.5 is usual\)"),
        (["devices.cpu_offload=true"], r"cpu_offload is true; weights can leave .* Set devices\.parallel=fsdp too\."),
        (["devices.parallel=fsdp"], r"parallel is 'fsdp'; states of lower layers .* Set lora\.upper_layers to null"),
        (["devices.count=3"], r"batch_size is 16; it must be a multiple of devices\.count \(3\), such as 15\."),
        (["training.micro_batch_size=5"], r"multiple of devices\.count \(1\) times .* \(5\), such as 15\."),
        (["method=qlora", "devices.type=mps"], r"devices\.type is 'mps'; 4-bit weights need cuda or cpu\."),
        (["method=dpo", "dpo.weights=qlora", "devices.type=mps"], r"devices\.type is 'mps'; 4-bit weights"),
        (["training.optimizer=adamw_8bit", "devices.type=mps"], r"optimizer is 'adamw_8bit'; 8-bit moments need cuda"),
        (
            ["training.optimizer=adamw_8bit", "devices.cpu_offload=true", "devices.parallel=fsdp"],
            r"the moments lie in the host's memory, where only adamw works",
        ),
        (
            ["training.optimizer=adamw_8bit", "devices.count=2", "devices.parallel=fsdp", "lora.upper_layers=null"],
            r"optimizer is 'adamw_8bit'; 8-bit moments need whole weights, and devices\.parallel=fsdp parts them\.",
        ),
        (["devices.cpu_offload=true", "devices.parallel=fsdp"], r"cpu_offload is true; one device shares its weights"),
        (
            ["devices.cpu_offload=true", "devices.parallel=fsdp", "devices.count=2", "devices.type=cpu"],
            r"cpu_offload is true; the weights of processes on a processor are in the host's memory already\.",
        ),
        (["devices.count=2", "devices.type=mps"], r"count is 2; mps is one device\. Set devices\.count=1\."),
        (["method=dpo", "devices.count=2", "devices.parallel=fsdp"], r"parallel is 'fsdp'; states of lower layers"),
    ],
)
def test_what_a_recipe_cannot_mean_is_told_with_what_it_could(options: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_recipe("smollm2-135m-cpu", options)


def test_where_every_weight_learns_no_lower_layers_are_stored_whatever_is_learned_from() -> None:
    shared = ["devices.count=2", "devices.parallel=fsdp", "lora.upper_layers=10"]
    assert load_recipe("smollm2-135m-cpu", ["method=full", *shared]).weights == "full"
    assert load_recipe("smollm2-135m-cpu", ["method=dpo", "dpo.weights=full", *shared]).weights == "full"


def test_contradictions_are_told_beside_fields_that_are_wrong_by_themselves() -> None:
    with pytest.raises(InputError) as error:
        load_recipe("smollm2-135m-cpu", ["lora.rank=0", "devices.count=3", "rank"])
    assert [line.split(":")[0] for line in str(error.value).splitlines()] == [
        "Option 'rank'",
        "option 'lora.rank=0'",
        "smollm2-135m-cpu.yaml, line 15",
    ]


def test_a_key_that_is_given_twice_is_told_with_both_lines(tmp_path: Path) -> None:
    text = resolved_yaml(load_recipe("smollm2-135m-cpu"))
    path = tmp_path / "twice.yaml"
    path.write_text(text + "seed: 3\n")
    first = next(number for number, line in enumerate(text.splitlines(), 1) if line.startswith("seed:"))
    with pytest.raises(
        InputError, match=rf"line {len(text.splitlines()) + 1}: seed is given twice, first on line {first}"
    ):
        load_recipe(str(path))


@pytest.mark.parametrize(
    ("method", "weights"), [("lora", "lora"), ("qlora", "qlora"), ("full", "full"), ("dpo", "full")]
)
def test_what_learns_follows_from_the_method(method: str, weights: str) -> None:
    assert load_recipe("smollm2-135m-cpu", [f"method={method}", "dpo.weights=full"]).weights == weights
