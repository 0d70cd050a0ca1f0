"""Opens every page of the built book in Chromium, and says what a reader would stumble over.

    python tools/look.py

A page that is wider than the window, at 1300 pixels or on a phone; an error of a script; what shuts
readers out (by axe, of Deque), contrast in the dark included; a request to another host; a page
without a title, without a description, or with an image that has no alternative text; a column of
numbers that a click on its head does not sort; a search that does not find its page first.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from urllib.parse import unquote

from contents import ROOT, names

HTML = ROOT / "_build" / "html"
AXE = ROOT / ".cache" / "axe" / "axe_playwright_python" / "axe.min.js"  # `make look` fetches it
WIDTHS = (1300, 390)
#: Pages for one browser; one for all of them runs out of its time.
AT_ONCE = 6
#: Browsers at work at a time.
BROWSERS_AT_ONCE = 2
#: What people search for, and the page that they want.
SEARCHES = {
    "Dice": "region/dice",
    "IoU": "region/jaccard",
    "categorical cross-entropy": "distribution/categorical_cross_entropy",
    "class imbalance": "foundations/imbalance",
    "install": "start/getting_started",
    "NDL": "appendix/dice_programs",
    "weight map": "boundary/shape_aware",
    "label smoothing": "distribution/calibration",
    "empty mask": "region/dice",
    "loss lab": "choosing/lab",
    "Lovász": "region/jaccard",
    "Hausdorff": "boundary/hausdorff",
    "mixed precision": "foundations/logits",
    "TverskyLoss": "reference/region",
    "unet_weight_map": "reference/maps",
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# Loads the pages one after the other in a frame, and leaves what it found in its own text.
SCRIPT = """
const found = [];
const wait = time => new Promise(done => setTimeout(done, time));
async function open(page, width) {
  const frame = document.createElement("iframe");
  frame.style = `width: ${width}px; height: 900px; border: 0`;
  const loaded = new Promise(done => frame.onload = done);
  frame.src = page;
  document.body.append(frame);
  await loaded;
  await wait(400);
  return frame;
}
async function search(words, wanted) {
  const frame = await open(`search.html?q=${encodeURIComponent(words)}`, WIDTHS[0]);
  let first = null;
  for (let i = 0; i < 40 && !first; i++, await wait(100))
    first = frame.contentDocument.querySelector("#search-results li a");
  await wait(2000);  // its script still fetches what it shows of each page
  const hit = first ? first.href : "nothing";
  if (!hit.includes(`${wanted}.html`))
    found.push([`a search for "${words}"`, `finds ${hit}, not ${wanted}`]);
  frame.remove();
}
// Formulas as boxes of their size, and of code one piece of each kind: of all, axe takes minutes.
function thin(inside) {
  const formulas = [...inside.querySelectorAll("mjx-container")];
  const widths = formulas.map(formula => formula.offsetWidth);
  formulas.forEach((formula, i) => {
    formula.textContent = "x";
    formula.style.cssText = `display: inline-block; width: ${widths[i]}px; line-height: normal`;
  });
  const kinds = new Set();
  for (const piece of inside.querySelectorAll(".highlight span:not(:has(*))")) {
    if (kinds.has(piece.className)) piece.replaceWith(piece.textContent);
    kinds.add(piece.className);
  }
}
// Contrast hangs on colour, ground, size and weight: texts in which these are as on no page before.
const kinds = new Set();
function fresh(inside) {
  const style = e => inside.defaultView.getComputedStyle(e);
  const ground = e => {
    const own = style(e).backgroundColor;
    return own !== "rgba(0, 0, 0, 0)" || !e.parentElement ? own : ground(e.parentElement);
  };
  const written = e => [...e.childNodes].some(n => n.nodeType === Node.TEXT_NODE && n.data.trim());
  return [...inside.body.querySelectorAll("*")].filter(e => {
    if (!written(e) || !e.checkVisibility()) return false;
    const { color, fontSize, fontWeight } = style(e), known = kinds.size;
    return kinds.add([color, fontSize, fontWeight, ground(e)].join()).size > known;
  });
}
async function shut(frame, context, options) {
  const { violations } = await frame.contentWindow.axe.run(context, options);
  return violations.map(({ id, help, nodes: [{ target, html }, ...more] }) =>
    `axe, ${id}: ${help}, as in ${target} ${html.slice(0, 99)} and ${more.length} others`);
}
async function accessible(frame, width) {
  const inside = frame.contentDocument, script = inside.createElement("script");
  const loaded = new Promise((done, failed) => [script.onload, script.onerror] = [done, failed]);
  const still = inside.createElement("style");
  still.textContent = "* { transition: none !important }";
  script.src = "/axe.min.js";
  inside.head.append(script, still);
  await loaded;
  thin(inside);
  // On a phone the same elements stand: what differs is that more of them scroll.
  if (width !== WIDTHS[0])
    return shut(frame, inside.querySelector("main"), { runOnly: ["scrollable-region-focusable"] });
  const rules = {};
  rules["color-contrast"] = { enabled: false };
  rules["label-content-name-mismatch"] = { enabled: true };
  const found = await shut(frame, inside, { rules, resultTypes: ["violations"] });
  for (const theme of ["light", "dark"]) {
    inside.documentElement.dataset.theme = theme;
    const include = fresh(inside);
    if (!include.length) continue;
    found.push(...await shut(frame, { include }, { runOnly: ["color-contrast"] }));
  }
  return found;
}
// The columns of numbers, intervals behind them or not, that a click on the head leaves unsorted.
function unsorted(inside) {
  const begins = cell => cell.textContent.trim().split(" ")[0].replace("−", "-");
  return [...inside.querySelectorAll(".tag_sortable th button")].filter(button => {
    const head = button.closest("th"), { rows } = head.closest("table").tBodies[0];
    button.click();
    const cells = [...rows].map(row => begins(row.cells[head.cellIndex])).filter(each => each);
    const numbers = cells.map(Number);
    return !numbers.some(Number.isNaN) && numbers.some((n, i) => n < numbers[i - 1]);
  });
}
async function look(page, width) {
  const frame = await open(page, width);
  const say = text => found.push([page, text]), inside = frame.contentDocument;
  if (!inside) return say("not there");
  for (const { name } of frame.contentWindow.performance.getEntriesByType("resource"))
    if (!/^(data|blob):/.test(name) && new URL(name).origin !== location.origin)
      say(`asks another host: ${name}`);
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
    for (const { textContent } of unsorted(inside)) say(`does not sort by "${textContent}"`);
  }
  (await accessible(frame, width)).forEach(say);
  frame.remove();
}
(async () => {
  for (const page of PAGES) for (const width of WIDTHS) await look(page, width);
  for (const [words, wanted] of SEARCHES) await search(words, wanted);
  document.body.innerHTML = `<pre id="found">${encodeURIComponent(JSON.stringify(found))}</pre>`;
})();
"""


def browser() -> str:
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    sys.exit(f"A browser is needed, one of {', '.join(BROWSERS)}: Debian's package is chromium.")


@contextmanager
def served(
    pages: Mapping[str, bytes], folder: Path = HTML
) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The address of a folder on this machine, which has these pages besides for now, and what is
    posted there, by its path. `until/NAME` is answered when NAME has been posted: with it as an
    image, a page is loading while its scripts work."""
    posted: dict[str, bytes] = {}
    arrived: dict[str, Event] = defaultdict(Event)

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0].lstrip("/")
            page = pages.get(path)
            if path.startswith("until/"):
                arrived[path.removeprefix("until/")].wait(timeout=500)
                page = b""
            if page is None:
                return super().do_GET()
            self.send_response(200)
            self.send_header("Content-Type", f"{self.guess_type(path)}; charset=utf-8")
            self.end_headers()
            self.wfile.write(page)

        def do_POST(self) -> None:
            path = self.path.lstrip("/")
            posted[path] = self.rfile.read(int(self.headers["Content-Length"]))
            arrived[path].set()
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", posted
        server.shutdown()


def opened(address: str, seconds: int | None = None) -> subprocess.CompletedProcess[str]:
    """What Chromium makes of a page after so many seconds of its own time, or as it is loaded."""
    with tempfile.TemporaryDirectory() as profile:
        command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        command += ["--enable-logging=stderr", f"--user-data-dir={profile}"]
        command += ["--window-size=1400,1000"]
        command += [f"--virtual-time-budget={1000 * seconds}"] if seconds else []
        return subprocess.run([*command, address], capture_output=True, text=True, timeout=600)


def errors_in(done: subprocess.CompletedProcess[str]) -> list[tuple[str, str]]:
    """What went wrong in the scripts of a page, and where."""
    return re.findall(
        r"CONSOLE.*?\] \"((?:Uncaught|Failed|Error).*?)\", source: (\S+)", done.stderr
    )


def looked_at(pages: Iterable[str], searches: Iterable[tuple[str, str]] = ()) -> list[str]:
    """What is wrong with these pages and searches, and what goes wrong in their scripts."""
    values = {
        "PAGES": [f"{page}.html" for page in pages],
        "WIDTHS": WIDTHS,
        "SEARCHES": list(searches),
    }
    constants = "".join(f"const {name} = {json.dumps(each)};" for name, each in values.items())
    seconds = 20 * (len(values["PAGES"]) + len(values["SEARCHES"]))
    page = f"<!doctype html><body><script>{constants}{SCRIPT}</script>"
    own = {"look.html": page.encode(), "axe.min.js": AXE.read_bytes()}
    with served(own) as (address, _):
        done = opened(f"{address}/look.html", seconds)
    told = re.search(r'<pre id="found">([^<$]*)</pre>', done.stdout)
    if not told:
        sys.exit(f"The browser has not come to the end.\n{done.stderr[-3000:]}")
    found = json.loads(unquote(told[1])) + errors_in(done)
    return [": ".join(pair).replace(f"{address}/", "") for pair in found]


def main() -> int:
    pages = names()
    groups = [pages[i : i + AT_ONCE] for i in range(0, len(pages), AT_ONCE)]
    with ThreadPoolExecutor(BROWSERS_AT_ONCE) as pool:
        problems = [problem for found in pool.map(looked_at, groups) for problem in found]
    problems += looked_at([], SEARCHES.items())
    print(
        "\n".join(dict.fromkeys(problems))
        or f"{len(pages)} pages looked at, at {WIDTHS} pixels, and {len(SEARCHES)} searches"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
