(function () {
  "use strict";
  function byId(id) { return document.getElementById(id); }
  var drop = byId("drop"), file = byId("file"), told = byId("status"), answer = byId("answer");
  var MOST_BARS = 20, asked = 0, shown = null;
  byId("command").textContent = byId("command").textContent.replace("ADDRESS", location.origin);

  function say(words, bad) {
    told.textContent = words;
    told.className = bad ? "bad" : "";
  }
  function percent(share) {
    return share >= 0.9995 ? ">\u00a099.9\u00a0%" : share < 0.0005 ? "<\u00a00.1\u00a0%" : (100 * share).toFixed(1) + "\u00a0%";
  }
  function element(name, text, style) {
    var made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (style) made.className = style;
    return made;
  }

  function recordOf(record) {
    if (record.recall === null) {
      return "There were no images of '" + record["class"] + "' to judge the model on.";
    }
    var words = "Of " + record.images.toLocaleString("en") + " images of '" + record["class"] +
      "' (split " + record.split + ") " + (100 * record.recall).toFixed(0) + "\u00a0% were recognised (95\u00a0%: " +
      (100 * record.recall_ci95[0]).toFixed(0) + " to " + (100 * record.recall_ci95[1]).toFixed(0) + "\u00a0%).";
    if (record.precision !== null) {
      words += " Of those called '" + record["class"] + "' " + (100 * record.precision).toFixed(0) +
        "\u00a0% were it (95\u00a0%: " + (100 * record.precision_ci95[0]).toFixed(0) + " to " +
        (100 * record.precision_ci95[1]).toFixed(0) + "\u00a0%).";
    }
    return words;
  }

  function othersOf(found) {
    var words = "Probability " + percent(found.confidence) + ". ";
    words += found.prediction_natural === found.prediction_balanced
      ? "Also the decision for the fewest errors at training frequencies"
      : "Decided for the highest mean recall; for the fewest errors at training frequencies: " +
        found.prediction_natural;
    if (found.prediction_prior !== undefined) {
      words += ". Most probable at the frequencies given to the server: " + found.prediction_prior;
    }
    return words + ".";
  }

  function show(found, image, name) {
    byId("answer-title").textContent = found.prediction_balanced;
    byId("others").textContent = othersOf(found);
    byId("record").textContent = recordOf(found.record);
    var set = byId("set");
    if (set) set.replaceChildren.apply(set, found.set.map(function (one) { return element("li", one); }));

    var pairs = Object.entries(found.probabilities).sort(function (a, b) { return b[1] - a[1]; });
    byId("bars").replaceChildren.apply(byId("bars"), pairs.slice(0, MOST_BARS).map(function (pair) {
      var row = element("li", undefined, pair[0] === found.prediction_balanced ? "given" : "");
      var meter = element("span", undefined, "meter");
      meter.style.setProperty("--share", 100 * pair[1] + "%");
      meter.setAttribute("aria-hidden", "true");
      row.append(element("span", pair[0]), meter, element("span", percent(pair[1]), "value"));
      return row;
    }));
    byId("more").textContent = pairs.length > MOST_BARS
      ? "and " + (pairs.length - MOST_BARS).toLocaleString("en") + " classes that are less probable" : "";
    document.querySelectorAll("tr[data-class]").forEach(function (row) {
      row.classList.toggle("given", row.dataset["class"] === found.record["class"]);
    });

    if (shown) URL.revokeObjectURL(shown);
    shown = URL.createObjectURL(image);
    var picture = byId("picture");
    picture.hidden = false;
    picture.alt = "The image that was classified: " + name;
    picture.onerror = function () { picture.hidden = true; };  // TIFF, DICOM: read by the server alone
    picture.src = shown;
    byId("name").textContent = name;
    answer.hidden = false;
    answer.focus({ preventScroll: true });
    answer.scrollIntoView({ block: "nearest" });
  }

  function ask(files) {
    if (!files || !files.length) return;
    var image = files[0], name = image.name || "pasted image", turn = ++asked;
    say("Classifying " + name + " …");
    fetch("predict", {
      method: "POST", body: image, headers: { "Content-Type": "application/octet-stream" }
    }).then(function (response) {
      return response.json().then(function (found) {
        if (turn !== asked) return;  // another image was chosen meanwhile
        if (!response.ok) {
          answer.hidden = true;
          say(found.error, true);
          return;
        }
        show(found, image, name);
        say(name + ": " + found.prediction_balanced + ", " + percent(found.confidence) + "." +
          (files.length > 1 ? " One image at a time: the first of " + files.length + "." : ""));
      });
    }).catch(function () {
      if (turn === asked) say("The server gave no answer. Is it still running?", true);
    });
  }

  file.addEventListener("change", function () {
    var chosen = Array.from(file.files);
    file.value = "";  // the same file can be chosen again
    ask(chosen);
  });
  ["dragenter", "dragover"].forEach(function (name) {
    document.addEventListener(name, function (event) {
      event.preventDefault();
      drop.classList.add("over");
    });
  });
  document.addEventListener("dragleave", function (event) {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  document.addEventListener("drop", function (event) {
    event.preventDefault();
    drop.classList.remove("over");
    ask(event.dataTransfer.files);
  });
  document.addEventListener("paste", function (event) {
    if (event.clipboardData) ask(event.clipboardData.files);
  });
})();
