"""The page of each finding. They are written once, in docs/findings, and come with the package."""

from importlib.resources import files

from kubeha.errors import KubehaError


def page(code: str) -> str:
    """The page of a code such as KH301, in Markdown.

    Raises KubehaError where this installation lacks it.
    """
    file = files("kubeha").joinpath("findings", f"{code}.md")
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise KubehaError(
            f"the page of {code} is not in this installation of kubeha",
            hint=f"install kubeha anew, or read docs/findings/{code}.md of its sources",
        ) from None


def pages() -> tuple[str, ...]:
    """The codes that have a page, in order."""
    there = files("kubeha").joinpath("findings").iterdir()
    return tuple(sorted(file.name.removesuffix(".md") for file in there))
