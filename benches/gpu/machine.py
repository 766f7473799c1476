"""What the machine is, for whoever reads the numbers later."""

import argparse
import importlib.metadata
import platform
import shutil
import subprocess
import sys

import record

QUERY = "name,driver_version,memory.total,clocks.sm,clocks.mem,clocks.max.sm,power.limit"
PACKAGES = ["torch", "transformers", "triton", "safetensors"]
TOOLS = ["compute-sanitizer", "ncu", "nvcc", "cuobjdump"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true")
    parser.parse_args()
    record.line(name="system", text=f"{platform.platform()}, Python {sys.version.split()[0]}")
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader"]
        said = subprocess.run(command, capture_output=True, text=True).stdout.strip()
        record.line(name=f"GPU ({QUERY})", text=said)
    else:
        record.line(name="GPU", text="there is no nvidia-smi")
    for package in PACKAGES:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = "NOT THERE"
        record.line(name=package, text=version)
    for tool in TOOLS:
        record.line(name=tool, text=shutil.which(tool) or "NOT THERE")


if __name__ == "__main__":
    main()
