(function () {
  "use strict";
  var root = document.documentElement, button = document.getElementById("theme"), key = "everyclass-theme";
  function stored() { try { return localStorage.getItem(key); } catch (e) { return null; } }
  function system() { return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"; }
  function current() { return root.dataset.theme || system(); }
  function name() {
    var next = current() === "dark" ? "Light" : "Dark";
    button.textContent = next;
    button.setAttribute("aria-label", "Switch to " + next.toLowerCase() + " colours");
  }
  var kept = stored();
  if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  button.hidden = false;
  name();
  button.addEventListener("click", function () {
    root.dataset.theme = current() === "dark" ? "light" : "dark";
    try { localStorage.setItem(key, root.dataset.theme); } catch (e) { /* a file without storage */ }
    name();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);

  // On a narrow screen the contents begin closed.
  var contents = document.querySelector(".toc details");
  if (contents && matchMedia("(max-width: 1099px)").matches) contents.open = false;

  document.querySelectorAll(".command").forEach(function (box) {
    if (!navigator.clipboard) return;
    var copy = document.createElement("button");
    copy.type = "button";
    copy.textContent = "Copy";
    copy.addEventListener("click", function () {
      navigator.clipboard.writeText(box.querySelector("code").textContent).then(function () {
        copy.textContent = "Copied";
        setTimeout(function () { copy.textContent = "Copy"; }, 1500);
      });
    });
    box.appendChild(copy);
  });

  // A cell opens below its matrix; the page stays where it is, Escape closes it and goes back.
  var last = null;
  document.querySelectorAll(".matrix a, .pairs a").forEach(function (link) {
    link.addEventListener("click", function () { last = link; });
  });
  document.addEventListener("keydown", function (event) {
    if (event.key === "Escape" && location.hash.indexOf("#cell-") === 0) {
      location.hash = "#confusion";
      if (last) last.focus();
    }
  });

  var links = {};
  document.querySelectorAll(".toc a").forEach(function (link) { links[link.hash.slice(1)] = link; });
  if ("IntersectionObserver" in window) {
    var seen = new IntersectionObserver(function (entries) {
      entries.forEach(function (entry) {
        if (!entry.isIntersecting) return;
        Object.keys(links).forEach(function (id) { links[id].removeAttribute("aria-current"); });
        links[entry.target.id].setAttribute("aria-current", "true");
      });
    }, { rootMargin: "-15% 0px -75% 0px" });
    document.querySelectorAll("main > section").forEach(function (section) {
      if (links[section.id]) seen.observe(section);
    });
  }
})();
