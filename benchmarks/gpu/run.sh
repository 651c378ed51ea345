#!/bin/sh
# The figures of benchmarks/tuning_gpu.py on one bare H100 or H200 machine, from the repository's root.
# Needs Python 3.11, an NVIDIA driver, about 60 GB of disk and 40 minutes. Writes build/tuning_gpu/results.jsonl.
set -eu
python3 -m venv build/gpu-venv
. build/gpu-venv/bin/activate
pip install --quiet torch==2.13.0
pip install --quiet -e '.[tune]'
python -c 'import torch; assert torch.cuda.is_available(), "torch sees no GPU"; print(torch.cuda.get_device_name())'

bench="python benchmarks/tuning_gpu.py --shape llama-3.1-8b --tokens 2048"
$bench --method lora  --micro-batch 2
$bench --method lora  --micro-batch 4
$bench --method lora  --micro-batch 8 --gradient-checkpointing
$bench --method qlora --micro-batch 2
$bench --method qlora --micro-batch 4
$bench --method qlora --micro-batch 8 --gradient-checkpointing
python benchmarks/tuning_gpu.py --shape llama-1b --tokens 2048 --method full --micro-batch 8

# The same packed attention and losses on the device as on a processor.
pip install --quiet pytest hypothesis
python -m pytest -q benchmarks/gpu/test_device.py

# The yardstick, in an environment of its own: it may want other versions.
python3 -m venv build/trl-venv
build/trl-venv/bin/pip install --quiet torch==2.13.0 trl peft bitsandbytes
for method in lora qlora; do
    build/trl-venv/bin/python benchmarks/gpu/trl_yardstick.py --base build/tuning_gpu/bases/llama-3.1-8b --method $method
done
