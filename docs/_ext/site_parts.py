"""What the pages show of the code: commands, parameters, and formulas without a script."""

import importlib
from argparse import SUPPRESS, ArgumentParser, _SubParsersAction

import latex2mathml.converter
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from esiamfc_lib.cli import COMMANDS
from esiamfc_lib.config import STAGES, StageParameters, SweepParameters, TrackingParameters

COMMON = StageParameters.model_fields


def command(name: str) -> str:
    """A command's section: its usage, and a table of its arguments."""
    module = importlib.import_module(f"esiamfc_lib.commands.{name.replace('-', '_')}")
    parser = ArgumentParser(prog=f"esiamfc {name}", description=module.__doc__)
    module.arguments(parser)
    return f"## {name}\n\n{(module.__doc__ or '').strip()}\n\n{_arguments(parser)}"


def _arguments(parser: ArgumentParser) -> str:
    formatter = parser._get_formatter()
    formatter._width = 88
    formatter.add_usage(parser.usage, parser._actions, parser._mutually_exclusive_groups)
    parts, rows = [f"```text\n{formatter.format_help().strip()}\n```\n"], []
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            helps = {choice.dest: choice.help for choice in action._choices_actions}
            for name, own in action.choices.items():
                parts.append(f"### {parser.prog.split()[-1]} {name}\n\n{helps[name]}\n")
                parts.append(_arguments(own))
        elif action.help != SUPPRESS and action.dest != "help":
            value = action.metavar or ("" if action.nargs == 0 else action.dest.upper())
            value = "|".join(map(str, action.choices)) if action.choices else value
            names = action.option_strings or [str(action.metavar or action.dest)]
            shown = ", ".join(names) + (f" {value}" if action.option_strings and value else "")
            text = (action.help or "").replace("%%", "%") % {"default": action.default}
            if action.default not in (None, SUPPRESS, False, "", []) and "default" not in text:
                text += f" (default: {_plain(action.default)})"
            rows.append(f"| {_code(shown)} | {_cell(text)} |")
    if rows:
        parts.append("\n".join(["| argument | meaning |", "|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def parameters(model: type) -> str:
    """A model's table: every parameter with its type, bounds, default and meaning."""
    schema = model.model_json_schema()["properties"]
    values = model().model_dump()
    own = [name for name in values if name not in COMMON or model is StageParameters]
    lines = ["| parameter | values | default | meaning |", "|---|---|---|---|"]
    for name in own:
        facts = [f"`{name}`", _values(schema[name]), _code(_plain(values[name]))]
        lines.append(f"| {' | '.join(facts)} | {_cell(schema[name].get('description', ''))} |")
    return "\n".join(lines) + "\n"


TYPES = {"string": "text", "number": "number", "integer": "whole number", "array": "list",
         "boolean": "true or false", "object": "mapping"}  # fmt: skip
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def _values(facts: dict) -> str:
    """What a parameter takes, from its JSON schema."""
    choices = facts.get("enum") or facts.get("items", {}).get("enum")
    if choices:
        several = "of " if facts.get("type") == "array" else ""
        return several + ", ".join(_code(_plain(choice)) for choice in choices)
    kind = TYPES[facts.get("type", "string")]
    bounds = [f"{sign} {facts[name]:,.10g}" for name, sign in BOUNDS.items() if name in facts]
    return " ".join([kind, ", ".join(bounds)]).strip()


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    return "{}" if value == {} else str(value)


def _code(text: str) -> str:
    return f"`{_cell(text)}`" if text else "empty"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


class Generated(SphinxDirective):
    """``{commands}`` and ``{parameters}``: sections made from the code."""

    has_content = False

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(self.text(), allow_section_headings=True)


class Commands(Generated):
    def text(self) -> str:
        return "\n\n".join(map(command, COMMANDS))


class ParameterTables(Generated):
    def text(self) -> str:
        parts = ["## Of every stage\n", StageParameters.__doc__, parameters(StageParameters)]
        for model in (*STAGES, SweepParameters):
            parts += [f"## {model.stage}\n", model.__doc__ or "", parameters(model)]
        parts += ["## tracking\n", TrackingParameters.__doc__, parameters(TrackingParameters)]
        return "\n\n".join(parts)


def _formula(display: str):
    def visit(writer, node: nodes.Node) -> None:
        text = latex2mathml.converter.convert(node.astext(), display=display)
        writer.body.append(f'<div class="math">{text}</div>' if display == "block" else text)
        raise nodes.SkipNode

    return visit


def _skip(app, what, name: str, member, skip: bool, options) -> bool | None:
    """Leaves out what scikit-learn adds to every estimator: it refers to scikit-learn's pages."""
    return name in ("set_fit_request", "get_metadata_routing") or None


def setup(app) -> dict:
    app.connect("autodoc-skip-member", _skip)
    app.add_directive("commands", Commands)
    app.add_directive("parameters", ParameterTables)
    app.add_html_math_renderer("mathml", (_formula("inline"), None), (_formula("block"), None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
