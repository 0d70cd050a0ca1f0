// On a phone a figure is narrow and its letters are small: a tap opens the image, which can be enlarged.
if (window.matchMedia("(max-width: 600px)").matches) {
  for (const image of document.querySelectorAll("article :is(figure, .cell_output) img")) {
    if (image.closest("a")) continue;
    const link = document.createElement("a");
    link.href = image.src;
    image.replaceWith(link);
    link.append(image);
  }
}
