"""Your own signature in a notebook: upload a picture, or draw with mouse, finger or pen; what a model makes of it.

The canvas is HTML and JavaScript, in Colab and in JupyterLab alike. What is drawn comes to Python as PNG: in Colab by
a registered callback, elsewhere through a hidden text field of ipywidgets. Only what ipywidgets 7.7.1 and 8 share is
used.
"""

from __future__ import annotations

import base64
import binascii
import html
import io
import sys
import uuid
from collections.abc import Callable
from string import Template

import ipywidgets
from matplotlib.figure import Figure

from . import figures

WIDTH, HEIGHT, PEN = 512, 256, 5  # pixels of the canvas; the pen leaves a line of so many
PREFIX = "data:image/png;base64,"
LARGEST = 2_000_000  # characters of a drawing
PAGE = Template("""
<div id="$key">
<p><canvas width="$width" height="$height" role="img" aria-label="Draw your signature here with mouse, finger or pen"
 style="border: 1px solid #888; background: #fff; max-width: 100%; touch-action: none; cursor: crosshair"></canvas></p>
<p><button type="button" data-do="use">Use this drawing</button>
<button type="button" data-do="clear">Clear the canvas</button>
<span role="status">The canvas needs JavaScript and a running notebook; without them, upload a picture.</span></p>
<script>
(() => {
  const box = document.getElementById("$key"), canvas = box.querySelector("canvas"), pen = canvas.getContext("2d");
  const say = (text) => { box.querySelector("[role=status]").textContent = text; };
  let drawing = null, strokes = 0, sent = 0;
  const clear = () => {
    pen.fillStyle = "#fff"; pen.fillRect(0, 0, canvas.width, canvas.height); strokes = 0;
    say("Sign in the box, then press “Use this drawing”.");
  };
  const place = (event) => {
    const on = canvas.getBoundingClientRect();
    return [(event.clientX - on.left) * canvas.width / on.width, (event.clientY - on.top) * canvas.height / on.height];
  };
  const line = (to) => {
    pen.strokeStyle = "#000"; pen.lineWidth = $pen; pen.lineCap = pen.lineJoin = "round";
    pen.beginPath(); pen.moveTo(...drawing.at); pen.lineTo(...to); pen.stroke(); drawing.at = to;
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (drawing || event.button) return;
    event.preventDefault();
    drawing = {id: event.pointerId, at: place(event)}; strokes += 1;
    try { canvas.setPointerCapture(event.pointerId); } catch (error) { /* a stroke then ends at the edge */ }
    line(drawing.at);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drawing || event.pointerId !== drawing.id) return;
    const all = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
    for (const one of all.length ? all : [event]) line(place(one));
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => {
    if (drawing && event.pointerId === drawing.id) drawing = null;
  });
  const send = async () => {
    if (!strokes) return say("Nothing is drawn yet.");
    const picture = canvas.toDataURL("image/png"), colab = window.google && window.google.colab;
    if (colab && colab.kernel) {
      say("Sent; the answer appears below.");
      await colab.kernel.invokeFunction("$key", [picture], {});
    } else {
      const field = document.querySelector(".$key input, .$key textarea");
      if (!field) return say("No kernel listens on this page: run the cell, or upload a picture.");
      sent += 1; field.value = sent + " " + picture;
      for (const kind of ["input", "change"]) field.dispatchEvent(new Event(kind, {bubbles: true}));
      say("Sent; the answer appears below.");
    }
  };
  box.querySelector("[data-do=clear]").addEventListener("click", clear);
  box.querySelector("[data-do=use]").addEventListener("click", () =>
    send().catch((error) => say("The drawing did not reach Python (" + error + "): upload a picture instead.")));
  clear();
})();
</script>
</div>
""")


class OwnSignature:
    """An upload button, a canvas, and the figure that `answer` makes of the picture that came last.

    Parameters
    ----------
    answer
        From the bytes of a picture file to a figure. What it raises as ValueError (a `DataError` is one) is shown as
        a sentence.

    Attributes
    ----------
    page
        HTML of the canvas.
    upload, field, image, said
        The widgets: the button, the hidden field that receives a drawing, the figure as PNG, and what there is to say.
    """

    def __init__(self, answer: Callable[[bytes], Figure]):
        self.answer = answer
        self.key = f"sigen-canvas-{uuid.uuid4().hex[:12]}"
        self.page = PAGE.substitute(key=self.key, width=WIDTH, height=HEIGHT, pen=PEN)
        self.upload = ipywidgets.FileUpload(accept="image/*,.pdf", multiple=False)
        self.field = ipywidgets.Text(layout=ipywidgets.Layout(display="none"))
        self.field.add_class(self.key)
        self.image, self.said = ipywidgets.Image(format="png"), ipywidgets.HTML()
        self.image.layout.display = "none"
        self.upload.observe(lambda change: self.show(uploaded(change["new"])) if change["new"] else None, names="value")
        self.field.observe(lambda change: self.drawn(change["new"].partition(" ")[2]), names="value")
        if "google.colab" in sys.modules:
            from google.colab import output

            output.register_callback(self.key, self.drawn)

    def drawn(self, url: str) -> None:
        """Take a drawing, a data URL of PNG."""
        try:
            if not url.startswith(PREFIX) or len(url) > LARGEST:
                raise ValueError("no PNG, or a very large one")
            content = base64.b64decode(url[len(PREFIX) :], validate=True)
        except (ValueError, binascii.Error) as error:
            self.said.value = f"the drawing did not arrive ({html.escape(str(error))}); upload a picture instead"
            return
        self.show(content)

    def show(self, content: bytes) -> None:
        """Show what `answer` makes of a picture, or say what is wrong with it."""
        self.said.value = "working ..."
        try:
            figure, out = self.answer(content), io.BytesIO()
            figure.savefig(out, format="png", dpi=figures.SCREEN_DPI)
        except ValueError as error:
            self.said.value, self.image.layout.display = html.escape(str(error)), "none"
            return
        self.image.value, self.image.layout.display, self.said.value = out.getvalue(), None, ""

    def _ipython_display_(self) -> None:
        from IPython.display import HTML, display  # present wherever ipywidgets is

        display(HTML(self.page))
        display(ipywidgets.VBox([self.upload, self.field, self.said, self.image]))


def uploaded(value: object) -> bytes:
    """The bytes of the last file of a FileUpload: ipywidgets 8 holds a tuple of dicts, 7 a dict of dicts."""
    files = list(value.values()) if isinstance(value, dict) else list(value)
    return bytes(files[-1]["content"])
