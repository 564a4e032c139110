// Tables wider than the window say what is hidden.
(() => {
  const boxes = document.querySelectorAll(".scroll");
  const tell = () => {
    for (const box of boxes) {
      const end = box.getBoundingClientRect().right + 1;
      const heads = [...box.querySelectorAll("thead th")];
      const hidden = heads.filter((one) => one.getBoundingClientRect().right > end).length;
      if (hidden) box.dataset.hidden = `${hidden} more column${hidden === 1 ? "" : "s"} to the right: scroll`;
      else delete box.dataset.hidden;
    }
  };
  for (const box of boxes) box.addEventListener("scroll", tell, { passive: true });
  addEventListener("resize", tell);
  tell();
})();
