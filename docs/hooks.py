"""What MkDocs asks while it builds the site: pages made of the code, links, equations.

The tests call `commands`, `keys_table` and `pages` too; nothing here needs MkDocs but
the functions that it calls.
"""

import html
import os
import re
import sys
from collections import defaultdict
from inspect import cleandoc
from pathlib import Path
from typing import Any
from urllib.parse import unquote

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

CARDS = sorted((ROOT / "cgml" / "models").glob("*.md"))
ELSEWHERE = {  # page of the site -> file outside docs/ that it is
    "project/changes.md": "CHANGELOG.md",
    "project/contributing.md": "CONTRIBUTING.md",
    "project/security.md": "SECURITY.md",
    "project/data.md": "data/README.md",
    **{f"models/{path.name}": f"cgml/models/{path.name}" for path in CARDS},
}
COMMANDS = "reference/commands.md"
KEYS = "<!-- every key -->"
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]*)(#[^)]*)?\)")
REFERENCE = re.compile(r'\b(?:href|src)="(?!/|\w+:)([^"]+)"')  # of this site
PLACE = re.compile(r'\bid="([^"]+)"')
MATH = re.compile(r"^```math\n(.*?)\n```$|\$`(.+?)`\$", re.MULTILINE | re.DOTALL)
IN_DOCSTRINGS = re.compile(
    r"<p>\.\. math:: (.*?)</p>|:math:<code>(.*?)</code>", re.DOTALL
)
RAW = re.compile(r"\$\$|:math:|\.\. math::|\$[^$\n<>`]*\\[a-z]+[^$\n<>`]*\$")
FOREIGN = re.compile(r'<(?:script|img|iframe)\b[^>]*\bsrc="(?:https?:)?//[^"]*"')


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that lie elsewhere, and those made of the parsers."""
    from mkdocs.structure.files import File

    texts = {page: (ROOT / origin).read_text() for page, origin in ELSEWHERE.items()}
    for page, text in (texts | {COMMANDS: commands()}).items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, files: Any, **_: Any) -> str:
    """Fill in what is made of the code, find links, set equations."""
    own = page.file.src_uri
    text = markdown.replace(KEYS, keys_table())
    return equations(links(text, own, {item.src_uri for item in files}))


def on_page_content(content: str, **_: Any) -> str:
    """Set the equations of docstrings, which are there by now."""
    return docstring_equations(content)


def on_post_build(config: Any) -> None:
    """Refuse dead links, equations left as text, and parts that others serve."""
    from mkdocs.exceptions import PluginError

    site = Path(config.site_dir)
    if dead := dead_links(site):
        raise PluginError("links lead nowhere: " + "; ".join(dead))
    if left := left_over(site):
        raise PluginError("not for a reader without a network: " + "; ".join(left))


def left_over(site: Path) -> list[str]:
    """Name what pages show as raw TeX, and what they fetch from other places."""
    found = []
    for page in sorted(site.rglob("*.html")):
        text = page.read_text()
        shown = re.sub(r"<(script|style|math)\b.*?</\1>", "", text, flags=re.DOTALL)
        left = [*RAW.findall(shown), *FOREIGN.findall(text)]
        found += [f"{page.relative_to(site)}: {one}" for one in left]
    return found


def dead_links(site: Path) -> list[str]:
    """Name the links of pages to files or places that are not there."""
    pages = {page: page.read_text() for page in site.rglob("*.html")}
    places = {page: set(PLACE.findall(text)) for page, text in pages.items()}
    dead = []
    for page, text in pages.items():
        for link in sorted(set(REFERENCE.findall(text)) - {"."}):
            path, _, place = html.unescape(link).partition("#")
            target = (page.parent / unquote(path)).resolve() if path else page
            known = places.get(target, {place})
            if not target.exists() or (place and unquote(place) not in known):
                dead.append(f"{page.relative_to(site)}: {link}")
    return dead


def links(text: str, page: str, there: set[str]) -> str:
    """Let links of the repository be links of the site, or names of files.

    Args:
        text: Markdown.
        page: of the site, that it is of.
        there: all pages and figures of the site.
    """
    origins = {origin: target for target, origin in ELSEWHERE.items()}
    folder = (ROOT / ELSEWHERE.get(page, f"docs/{page}")).parent

    def find(match: re.Match[str]) -> str:
        mark, words, link, anchor = match.groups(default="")
        if not link or "://" in link or link.startswith("mailto:"):
            return match[0]
        path = os.path.relpath(folder / link, ROOT)
        target = origins.get(path, path.removeprefix("docs/"))
        if target in there:
            near = os.path.relpath(target, os.path.dirname(page) or ".")
            return f"{mark}[{words}]({near}{anchor})"
        return f"{words} (`{path}`)" if words.strip("`") != path else f"`{path}`"

    blocks = re.split(r"(^```.*?^```$|^ {4}.*?$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(
        part if k % 2 else LINK.sub(find, part) for k, part in enumerate(blocks)
    )


def equations(text: str) -> str:
    """Set LaTeX as MathML, which browsers show without a script or a network."""
    from latex2mathml.converter import convert

    def typeset(match: re.Match[str]) -> str:
        if match[1] is not None:
            return convert(match[1], display="block")
        return convert(match[2])

    return MATH.sub(typeset, text)


def docstring_equations(page: str) -> str:
    """Set the equations of docstrings, :math: and .. math::, in HTML as MathML."""
    from latex2mathml.converter import convert

    def typeset(match: re.Match[str]) -> str:
        if match[1] is not None:
            return convert(html.unescape(match[1]), display="block")
        return convert(html.unescape(match[2]))

    return IN_DOCSTRINGS.sub(typeset, page)


def keys_table() -> str:
    """Return every key of a training file as tables, one for each table of the file."""
    from cgml.training.keys import keys

    tables = defaultdict(list)
    for key in keys():
        tables[key.table].append(key[1:])
    parts = []
    for name, rows in tables.items():
        parts.append(f"### `[{name}]`\n" if name else "### Top of the file\n")
        parts.append("| key | takes | default | meaning |\n|---|---|---|---|")
        for key, kind, default, meaning in rows:
            parts.append(
                f"| `{key}` | {_cell(kind)} | `{default}` | {_cell(meaning)} |"
            )
        parts.append("")
    return "\n".join(parts)


def commands() -> str:
    """Return the reference of the command line, as the parsers have it."""
    import typer

    from cgml.cli import console
    from cgml.cli.answers import FIELDS
    from cgml.cli.app import app

    group: Any = typer.main.get_command(app)
    parts = [
        "# Command line",
        "Made of the parsers. `cgml COMMAND --help` shows the same.",
        f"## cgml\n\n{_help(group)}\n\n{_options(group)}",
    ]
    meanings: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, command in group.commands.items():
        parts.append(f"## cgml {name}\n\n{_help(command)}\n\n{_options(command)}")
        fields = [f"| `{key}` | {_cell(text)} |" for key, text in FIELDS[name].items()]
        parts.append("\n".join(["| field of `--json` | |\n|---|---|", *fields]))
        for item in command.params:
            if item.param_type_name == "option":
                meanings[item.opts[0]][item.help].append(name)
    rows = [
        f"| `{option}` | {_cell(text)} | {', '.join(names)} |"
        for option in sorted(meanings)
        for text, names in meanings[option].items()
    ]
    head = "| option | meaning | commands |\n|---|---|---|"
    parts.append("## Glossary of options\n\n" + "\n".join([head, *rows]))
    codes = [f"| {code} | {text} |" for code, text in console.EXIT_CODES.items()]
    parts.append("## Exit codes\n\n" + "\n".join(["| code | |\n|---|---|", *codes]))
    return "\n\n".join(parts) + "\n"


def _help(command: Any) -> str:
    """Return the help text of a command; its examples as a block of code."""
    text, _, example = cleandoc(command.help or "").partition("\b\nFor example:")
    block = f"\n```\n{cleandoc(example)}\n```" if example else ""
    return html.escape(text.strip(), quote=False).replace("*", r"\*") + "\n" + block


def _options(command: Any) -> str:
    """Return the table of a command's arguments and options."""
    rows = ["| | default | meaning |", "|---|---|---|"]
    for item in command.params:
        names = [*item.opts, *item.secondary_opts]
        name = ", ".join(f"`{word}`" for word in names)
        if item.param_type_name == "argument":
            name = f"`{item.name.upper()}`"
        known = item.default is not None and not callable(item.default)
        default = f"`{item.default}`" if known and item.default != "" else ""
        default = {"`True`": "yes", "`False`": "no"}.get(default, default)
        default = "required" if item.required else default
        rows.append(f"| {name} | {default} | {_cell(item.help or '')} |")
    return "\n".join(rows)


def _cell(text: str) -> str:
    """Keep a text out of the hands of Markdown."""
    plain = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([*_|\[\]])", r"\\\1", plain)
