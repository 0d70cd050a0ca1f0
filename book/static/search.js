var Scorer = {
  score: (result) => {
    const [page, title, anchor, , score] = result;
    // An index entry marks an empty place, of which Sphinx's script can show no words: show the page's.
    if (anchor.startsWith("#index-")) result[2] = "";
    // Who types the name of a class or function wants its entry in the reference.
    const asked = new URLSearchParams(location.search).get("q");
    if (anchor && asked && title.split(".").pop() === asked.trim()) return 10 * score;
    // What a page is about, marked "!" in its index entries, comes before the glossary's line on it
    // and before all that the reference says.
    return /glossary$|(^|\/)reference\//.test(page) ? score / 10 : score;
  },
  // The rest is what Sphinx has by itself.
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
