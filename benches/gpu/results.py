"""What the steps of benches/gpu/run found: one JSON file and one table, whole after each step."""

import json
import os


class Results:
    def __init__(self, folder):
        self.folder = folder
        self.steps = []

    @staticmethod
    def read(path):
        """The lines that a program has left, of which the last may be torn."""
        lines = []
        if path.exists():
            for line in path.read_text().splitlines():
                try:
                    lines.append(json.loads(line))
                except ValueError:
                    break
        return lines

    def add(self, name, status, seconds, lines):
        self.steps.append(dict(step=name, status=status, seconds=round(seconds, 1), lines=lines))
        self.write("results.json", json.dumps(self.steps, indent=1) + "\n")
        text = self.table([self.steps[-1]])
        print(text, end="", flush=True)
        self.write("table.txt", self.table(self.steps))

    def write(self, name, text):
        """Replaces a file as a whole, so that nobody reads half of it."""
        unfinished = self.folder / f".{name}"
        unfinished.write_text(text)
        os.replace(unfinished, self.folder / name)

    def failed(self):
        return any(step["status"].startswith("FAILED") for step in self.steps)

    def environment(self):
        """What later steps hold their products against."""
        for step in self.steps:
            for line in step["lines"]:
                if line.get("yardstick") == "products":
                    return {"GLASSBOX_BENCH_FLOPS": str(line["flops"] / line["seconds"])}
        return {}

    @staticmethod
    def table(steps):
        rows = []
        for step in steps:
            rows.append(f"\n{step['step']}: {step['status']}, {step['seconds']} s")
            rows += ["  " + describe(line) for line in step["lines"]]
        return "\n".join(rows) + "\n"


def describe(line):
    """One line of a table: name, time, rates, share of the limit, whatever of it there is."""
    cells = [f"{line.get('name', '?'):52}"]
    seconds = line.get("seconds")

    def cell(value, form, unit):
        text = f"{value:{form}} {unit}" if value else ""
        cells.append(text.rjust(len(f"{0.0:{form}} {unit}")))

    def rate(amount):
        return line[amount] / seconds if seconds and line.get(amount) else 0

    if line.get("text"):
        return " ".join([*cells, line["text"]])
    cell((seconds or 0) * 1e6, "12.2f", "us")
    cell((rate("bytes") or line.get("bytes_per_second", 0)) / 1e9, "8.1f", "GB/s")
    cell(rate("flops") / 1e12, "8.2f", "TFLOP/s")
    cell(line.get("percent"), "6.1f", "%")
    cell(line.get("tokens_per_second"), "10.1f", "tokens/s")
    return " ".join(cells).rstrip()
