var Scorer = {
  score: (result) => {
    const [page, , anchor, , score] = result;
    // An index entry marks an empty place, of which Sphinx's script can show no words: show the page's.
    if (anchor.startsWith("#index-")) result[2] = "";
    // What a page is about, marked "!" in its index entries, comes before the glossary's line on it.
    return page.endsWith("glossary") ? score / 10 : score;
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
