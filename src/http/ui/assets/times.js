// Times in the reader's zone, with the zone's name, and in UTC as the tooltip.

const format = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
  timeZoneName: "short",
});

export function local(iso) {
  return format.format(new Date(iso));
}

export function utc(iso) {
  return `${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC`;
}

export function rewrite(within) {
  for (const time of within.querySelectorAll("time[datetime]")) {
    time.title = time.textContent;
    time.textContent = local(time.dateTime);
  }
}

// `<time>` element of an ISO 8601 time.
export function element(iso) {
  const time = document.createElement("time");
  time.dateTime = iso;
  time.title = utc(iso);
  time.textContent = local(iso);
  return time;
}

// Offset of the reader's zone, in minutes east of UTC.
export function offset() {
  return -new Date().getTimezoneOffset();
}
