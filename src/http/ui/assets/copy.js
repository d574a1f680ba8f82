// Buttons that copy the text of another element.

export function prepare(within, announce) {
  for (const code of within.querySelectorAll("[data-host]")) {
    const base = new URL(".", document.baseURI).href.replace(/\/$/, "");
    code.textContent = code.textContent.replace("http://host", base);
  }
  for (const button of within.querySelectorAll("button[data-copy]")) {
    button.addEventListener("click", () => copy(button, announce));
  }
}

async function copy(button, announce) {
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    announce("Copied.");
    const label = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = label), 1500);
  } catch {
    // Without TLS, browsers may deny access to the clipboard. The text is then selected for the reader.
    const range = document.createRange();
    range.selectNodeContents(source);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    announce("It is selected: copy it with the keyboard.");
  }
}
