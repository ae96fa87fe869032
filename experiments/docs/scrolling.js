// What scrolls can be reached by the keyboard.
document$.subscribe(() => {
  const wide = document.querySelectorAll(".md-typeset__scrollwrap, math[display=block]");
  for (const element of wide) {
    element.tabIndex = 0;
  }
});
