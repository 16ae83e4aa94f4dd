"""Every metric that deploy/ names is in the metrics a hub exports (argument: a file of them). Prints one JSON line."""

import json
import pathlib
import re
import sys


def blocks(text):
    """The `expr:` values of a rules file, without a YAML library: one line, or folded lines that are indented deeper."""
    lines = text.splitlines()
    for index, line in enumerate(lines):
        match = re.match(r"( *)expr: (.*)$", line)
        if match:
            depth, value = len(match[1]), match[2]
            if value.strip() in (">-", ">", "|"):
                value = ""
                for more in lines[index + 1:]:
                    if len(more) - len(more.lstrip()) <= depth:
                        break
                    value += " " + more.strip()
            yield value


def main():
    deploy = pathlib.Path("deploy")
    try:
        import yaml
    except ImportError:
        yaml = None
        print("no YAML library: shapes of YAML files are not checked", file=sys.stderr)
    if yaml:
        for path in [*deploy.glob("*.yaml"), *deploy.glob("prometheus/*.yaml")]:
            yaml.safe_load(path.read_text())
    dashboard = json.loads((deploy / "grafana/shiyu.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    expressions += blocks((deploy / "prometheus/rules.yaml").read_text())
    if len(expressions) < 15:
        sys.exit(f"only {len(expressions)} expressions were found")
    named = {name for expression in expressions for name in re.findall(r"\bshiyu_[a-z_]+", expression)}
    exported = set()
    labels = {}
    for line in open(sys.argv[1]):
        match = re.match(r"(shiyu_[a-z_]+)(\{.*\})? ", line)
        if match:
            exported.add(match[1])
            labels.setdefault(match[1], set()).update(re.findall(r"(\w+)=", match[2] or ""))
    missing = sorted(named - exported)
    # Labels by which expressions group or filter.
    wrong = []
    for expression in expressions:
        wanted = set(re.findall(r"by \((\w+)\)", expression)) | set(re.findall(r"[{,]\s*(\w+)=\"", expression))
        for name in re.findall(r"\bshiyu_[a-z_]+", expression):
            wrong += [f"{name} has no label {label}" for label in wanted - {"instance", "job"} if name in exported and label not in labels[name]]
    print(json.dumps({"check": "deploy", "expressions": len(expressions), "metrics": len(named), "not_exported": missing, "wrong_labels": sorted(set(wrong))}))
    sys.exit(1 if missing or wrong else 0)


main()
