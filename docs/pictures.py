"""Makes docs/viewer.png and docs/demo.png: the viewer and the demo in headless Chromium.

    .venv/bin/python -m docs.pictures TARGET DRAFT

The viewer shows docs/assets/viewer-cod_hard.html. The demo answers one question of `hard` with TARGET and DRAFT, the
merged models of `cod_hard`; its two speeds are those of the machine that the picture is made on.
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image

from doubledraft.cli.demo_page import Demo, serve
from doubledraft.inference.load_pair import load_pair
from tests.helpers.browser import Page, browser

DOCS = Path(__file__).parent
QUESTION = "What is the 8th term of the arithmetic sequence 9, 13, 17, ...?"
PORT = 7873


def picture_viewer(page: Page) -> None:
    """Take the picture of the viewer, with the mouse on a token that replaced a rejected one."""
    page.picture(DOCS / "viewer.png", width=1180, height=760)  # sets the size
    page.open((DOCS / "assets" / "viewer-cod_hard.html").absolute().as_uri())
    page.hover('[data-lane="1"] .token.choice')
    take(page, DOCS / "viewer.png", width=1180, height=760)


def picture_demo(page: Page, target: str, draft: str) -> None:
    """Let the demo answer a question, and take its picture."""
    plain, drafted = load_pair(target), load_pair(target, draft, int8_draft=True)
    demo = Demo(plain, {"trained draft": drafted}, DOCS.parent / "config" / "prompts" / "cod.yaml")
    demo.warm_up()
    blocks = serve(demo, "127.0.0.1", PORT, block=False)
    page.picture(DOCS / "demo.png", width=1040, height=880)
    page.open(f"http://127.0.0.1:{PORT}/")
    page.wait("!!document.querySelector('#answer')")
    page.run("document.querySelector('#prompt textarea').select()")
    page.call("Input.insertText", text=QUESTION)
    page.click("#answer")
    page.wait("document.querySelector('#drafted .facts')?.textContent.includes('times as fast')")
    page.run("scrollTo(0, 0)")
    take(page, DOCS / "demo.png", width=1040, height=880)
    blocks.close()


def take(page: Page, path: Path, **size: int) -> None:
    """Take a picture in 128 colours, which is a third of the bytes and looks the same."""
    page.picture(path, **size)
    with Image.open(path) as image:
        small = image.convert("RGB").quantize(128, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, browser(Path(folder)) as opened:
        picture_viewer(opened)
        picture_demo(opened, *sys.argv[1:])
