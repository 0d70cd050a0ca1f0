"""Opens every page of the built book in Chromium, and says what a reader would stumble over.

    python tools/look.py

A page that is wider than the window, at 1300 pixels or on a phone; an error of a script; a page
without a title, without a description, or with an image that has no alternative text.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

from contents import ROOT, names

HTML = ROOT / "_build" / "html"
WIDTHS = (1300, 390)
#: Pages for one browser; one for all of them runs out of its time.
AT_ONCE = 6
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# Loads the pages one after the other in a frame, and leaves what it found in its own text.
SCRIPT = """
const found = [];
async function look(page, width) {
  const frame = document.createElement("iframe");
  frame.style = `width: ${width}px; height: 900px; border: 0`;
  const loaded = new Promise(done => frame.onload = done);
  frame.src = page;
  document.body.append(frame);
  await loaded;
  await new Promise(done => setTimeout(done, 400));
  const say = text => found.push([page, text]), inside = frame.contentDocument;
  if (!inside) return say("not there");
  const wide = inside.documentElement.scrollWidth;
  if (wide > width) {
    // What scrolls in a box of its own does not make the page wide.
    const boxed = e => e && (frame.contentWindow.getComputedStyle(e).overflowX !== "visible"
                             || boxed(e.parentElement.closest("article *")));
    const over = [...inside.querySelectorAll("article *")].filter(
      e => e.getBoundingClientRect().right > width + 1 && !boxed(e));
    const last = over.length ? over[over.length - 1] : null;
    say(`${wide} pixels wide in a window of ${width}` +
        (last ? `: ${last.tagName} ${last.className} ${last.textContent.slice(0, 60)}` : ""));
  }
  if (width === WIDTHS[0]) {
    if (!inside.title.trim()) say("no title");
    const told = inside.querySelector("meta[name=description]");
    if (!told || told.content.length < 50) say("no description");
    for (const image of inside.querySelectorAll("article img"))
      if (!image.alt || image.alt.length < 15) say(`no alternative text: ${image.src}`);
  }
  frame.remove();
}
(async () => {
  for (const page of PAGES) for (const width of WIDTHS) await look(page, width);
  document.body.innerHTML = `<pre id="found">${encodeURIComponent(JSON.stringify(found))}</pre>`;
})();
"""


def browser() -> str:
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    sys.exit(f"A browser is needed, one of {', '.join(BROWSERS)}: Debian's package is chromium.")


def looked_at(pages: Iterable[str]) -> list[str]:
    """What is wrong with these pages, and what goes wrong in their scripts."""
    addresses = [f"{HTML.as_uri()}/{page}.html" for page in pages]
    script = SCRIPT.replace("PAGES", json.dumps(addresses)).replace("WIDTHS", json.dumps(WIDTHS))
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "look.html"
        start.write_text(f"<!doctype html><body><script>{script}</script>")
        command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        command += ["--allow-file-access-from-files", "--enable-logging=stderr"]
        command += [f"--user-data-dir={folder}/profile", "--window-size=1400,1000"]
        command += [f"--virtual-time-budget={20_000 * len(addresses)}", start.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    told = re.search(r'<pre id="found">([^<$]*)</pre>', done.stdout)
    if not told:
        sys.exit(f"The browser has not come to the end.\n{done.stderr[-3000:]}")
    found = json.loads(unquote(told[1])) + re.findall(
        r"CONSOLE.*?\] \"((?:Uncaught|Failed|Error).*?)\", source: (\S+)", done.stderr
    )
    return [": ".join(part.removeprefix(f"{HTML.as_uri()}/") for part in pair) for pair in found]


if __name__ == "__main__":
    problems = [
        problem
        for i in range(0, len(names()), AT_ONCE)
        for problem in looked_at(names()[i : i + AT_ONCE])
    ]
    print(
        "\n".join(dict.fromkeys(problems)) or f"{len(names())} pages looked at, at {WIDTHS} pixels"
    )
    sys.exit(1 if problems else 0)
