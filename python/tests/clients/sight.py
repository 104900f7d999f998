"""The words of a page that a user sees: those inside the visible rectangle, not all in the DOM."""

import re

from playwright.async_api import TimeoutError as NotSeen

from ci.paths import ROOT
from timeouts import TIMEOUT_SECONDS

PICTURES = ROOT / "build/clients"

# A word counts if all of it is inside of the window and of everything that clips it, and nothing covers it.
_SEEN = """
const seen = (root) => {
  const inside = (rect, box) => rect.left >= box.left - 1 && rect.right <= box.right + 1
    && rect.top >= box.top - 1 && rect.bottom <= box.bottom + 1;
  const clipsOf = (element) => {
    const boxes = [new DOMRect(0, 0, window.innerWidth, window.innerHeight)];
    // The body's own overflow is the window's.
    for (let each = element; each !== document.body; each = each.parentElement) {
      const style = getComputedStyle(each);
      if (style.overflowX !== "visible" || style.overflowY !== "visible")
        boxes.push(each.getBoundingClientRect());
    }
    return boxes;
  };
  const uncovered = (rect, element) => {
    const top = document.elementFromPoint((rect.left + rect.right) / 2, (rect.top + rect.bottom) / 2);
    return top !== null && (element.contains(top) || top.contains(element));
  };
  const words = [];
  const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let text; (text = texts.nextNode()); ) {
    const element = text.parentElement;
    if (!element.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    const boxes = clipsOf(element);
    for (const word of text.data.matchAll(/\\S+/g)) {
      const range = document.createRange();
      range.setStart(text, word.index);
      range.setEnd(text, word.index + word[0].length);
      const rects = [...range.getClientRects()].filter((rect) => rect.width > 0);
      const isSeen = (rect) => boxes.every((box) => inside(rect, box)) && uncovered(rect, element);
      if (rects.length && rects.every(isSeen)) words.push(word[0]);
    }
  }
  return words.join(" ");
};
"""


async def seen_in(place):
    """Return the words of a locator's element that a user can read without scrolling."""
    return await place.evaluate(f"root => {{ {_SEEN} return seen(root); }}")


async def see(place, *sentences):
    """Wait until a user can read these sentences in a locator's element, in this order."""
    pattern = ".*".join(re.escape(" ".join(each.split())) for each in sentences)
    element = await place.element_handle()
    try:
        await place.page.wait_for_function(
            f"([root, pattern]) => {{ {_SEEN} return new RegExp(pattern).test(seen(root)); }}",
            arg=[element, pattern],
            timeout=TIMEOUT_SECONDS * 1000,
        )
    except NotSeen:
        msg = f"not to be seen: {sentences}\nbut: {await seen_in(place)}"
        raise AssertionError(msg) from None


async def picture(page, name):
    """Keep a picture of the page."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=PICTURES / f"{name}.png")
