// A formula wider than its page scrolls in a box of its own: arrow keys reach it, as the theme sees to for code.
{
  const reach = () => {
    for (const box of document.querySelectorAll("div.math, div.math mjx-container"))
      box.tabIndex = box.scrollWidth > box.clientWidth ? 0 : -1;
  };
  window.MathJax?.startup?.promise?.then(reach);
  window.addEventListener("resize", reach);
}
