"""JupyterLab as a user sees it: notebooks are opened in headless Chromium, run, and their controls
moved. Needs Chromium (of the system) and the package playwright."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

CHROMIUM = "chromium", "chromium-browser", "google-chrome"
BROWSER = next(filter(None, map(shutil.which, CHROMIUM)), "")
PLAYWRIGHT = importlib.util.find_spec("playwright")
MISSING = "" if BROWSER and PLAYWRIGHT else "needs Chromium and the package playwright, absent here"
WINDOW = {"width": 1300, "height": 1000}
DONE = """() => {
  const prompts = [...document.querySelectorAll(".jp-InputPrompt")].map(one => one.textContent);
  return prompts.some(text => /\\d/.test(text)) && !prompts.some(text => text.includes("*"));
}"""
"""Of the page: cells were run, and none is waiting any more."""
SETTINGS = "@jupyterlab/notebook-extension:tracker"


def without_outputs(notebook: Path) -> str:
    """A notebook that was executed with parameters, as it was before that."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    return json.dumps(content)


def faults(cell: dict) -> list[str]:
    """What is wrong with a cell of a notebook that was run: its errors, or that it did not run."""
    if cell["cell_type"] != "code" or not "".join(cell["source"]).strip():
        return []
    found = [one["evalue"] for one in cell["outputs"] if one["output_type"] == "error"]
    return found if cell["execution_count"] else ["a cell did not run"]


class Lab:
    """A JupyterLab server on loopback, and one page of a browser on it."""

    def __init__(self, address: str, page, shots: Path):
        self.address, self.page, self.shots = address, page, shots

    def api(self, path: str, method: str = "GET", body: dict | None = None) -> dict:
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(f"{self.address}{path}", data, method=method)) as reply:
            text = reply.read()
        return json.loads(text) if text else {}

    def run_all(self, notebook: str, seconds: float = 240) -> dict:
        """Open a notebook (path from the server's folder), run all of it, save it; its content."""
        page = self.page
        page.goto(f"{self.address}/lab/tree/{notebook}?reset")
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        self.wait_for_kernel()
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        page.wait_for_function(DONE, timeout=1000 * seconds)
        page.keyboard.press("Control+s")
        time.sleep(1)
        page.screenshot(path=self.shots / f"{Path(notebook).stem}.png")
        return self.api(f"/api/contents/{notebook}")["content"]

    def wait_for_kernel(self) -> None:
        """Until the notebook's kernel has started: "Run All" would ask for one before."""
        end, states = time.monotonic() + 60, []
        while states != ["idle"]:
            assert time.monotonic() < end, f"the kernel is {states}"
            time.sleep(0.5)
            states = [one["kernel"]["execution_state"] for one in self.api("/api/sessions")]

    def move_controls(self, name: str) -> list[bool]:
        """Move each slider of the page by one step, and click on each map: whether the picture
        above it changed."""
        changed = []
        handles = self.page.locator(".widget-slider .noUi-handle")
        maps = self.page.locator("img.jupyter-widgets")
        for control in (*handles.all(), *maps.all()):
            control.scroll_into_view_if_needed()
            cell = control.locator("xpath=ancestor::*[contains(@class, 'jp-CodeCell')]")
            picture = cell.locator(".jp-OutputArea-output img:not(.jupyter-widgets)").first
            before = picture.get_attribute("src")
            if "noUi-handle" in (control.get_attribute("class") or ""):
                control.press("ArrowRight")
            else:
                control.click(position={"x": 60, "y": 60})
                time.sleep(5)
                if picture.get_attribute("src") == before:  # this track was shown already
                    control.click(position={"x": 340, "y": 340})
            for _ in range(120):
                time.sleep(0.25)
                if picture.get_attribute("src") != before:
                    break
            changed.append(picture.get_attribute("src") != before)
            cell.screenshot(path=self.shots / f"{name}-control-{len(changed)}.png")
        return changed

    def close_kernels(self) -> None:
        for session in self.api("/api/sessions"):
            self.api(f"/api/sessions/{session['id']}", "DELETE")


@contextmanager
def lab(folder: Path, root: Path, shots: Path) -> Iterator[Lab]:
    """JupyterLab on ``folder``, with the library and notebooks' paths of the project ``root``."""
    from playwright.sync_api import sync_playwright

    home = shots / "home"
    home.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"ESIAMFC_ROOT": str(root), "HOME": str(home)}
    environment.pop("ESIAMFC_CHAIN", None)
    options = [
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        "--port=0",
        f"--notebook-dir={folder}",
    ]
    options += [
        "--ServerApp.token=",
        "--ServerApp.password=",
        "--ServerApp.disable_check_xsrf=True",
    ]
    log = (shots / "server.log").open("w+")
    command = [sys.executable, "-m", "jupyter", "lab", *options]
    server = subprocess.Popen(command, env=environment, cwd=root, stdout=log, stderr=log)
    try:
        address = _address(server, shots / "server.log")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
            found = Lab(address, browser.new_page(viewport=WINDOW), shots)
            # every cell is in the page, wherever it is scrolled to; no news of Jupyter is asked for
            found.api(f"/lab/api/settings/{SETTINGS}", "PUT", {"raw": '{"windowingMode": "none"}'})
            news = "@jupyterlab/apputils-extension:notification"
            found.api(f"/lab/api/settings/{news}", "PUT", {"raw": '{"fetchNews": "false"}'})
            yield found
            browser.close()
    finally:
        server.terminate()
        server.wait(20)
        log.close()


def _address(server: subprocess.Popen, log: Path) -> str:
    for _ in range(120):
        time.sleep(0.5)
        assert server.poll() is None, log.read_text()
        for word in log.read_text().split():
            if word.startswith("http://127.0.0.1:"):
                return word.split("/lab")[0].split("/tree")[0].rstrip("/")
    raise AssertionError(f"JupyterLab did not start: {log.read_text()}")
