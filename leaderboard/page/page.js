"use strict";
for (const table of document.querySelectorAll("table.board")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.querySelectorAll("th")];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const numeric = head.classList.contains("number");
      const before = head.getAttribute("aria-sort");
      const down = before === "none" ? numeric : before === "ascending";
      const value = (row) => row.cells[column].dataset.value;
      const compare = (a, b) => {
        const x = value(a), y = value(b);
        if (x === "" || y === "") return (x === "") - (y === "");  // what is not known comes last
        const order = numeric ? Number(x) - Number(y) : x.localeCompare(y);
        return down ? -order : order;
      };
      body.append(...[...body.rows].sort(compare));
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
    });
  });
  const controls = table.closest("section").querySelector(".controls");
  if (!controls) continue;
  const filter = controls.querySelector("input[type=search]");
  const floors = controls.querySelector(".floors");
  const show = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word)) || (row.classList.contains("floor") && !floors.checked);
      count += !row.hidden;
    }
    controls.querySelector(".shown").textContent = `${count} of ${body.rows.length} rows`;
  };
  filter.addEventListener("input", show);
  floors.addEventListener("change", show);
}
for (const button of document.querySelectorAll(".save")) {
  button.addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([button.nextElementSibling.textContent], {type: "text/csv"}));
    link.download = `${button.dataset.name}.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
  });
}
const dark = matchMedia("(prefers-color-scheme: dark)").matches;
const themes = ["as the system", ...(dark ? ["light", "dark"] : ["dark", "light"])];  // the first click is seen
let theme = 0;
document.getElementById("theme").addEventListener("click", (event) => {
  theme = (theme + 1) % themes.length;
  if (theme) document.documentElement.dataset.theme = themes[theme];
  else delete document.documentElement.dataset.theme;
  event.target.textContent = `Theme: ${themes[theme]}`;
});
