// Text of gateways, kernels and their images: data to show, of bounded length, and never HTML.

// Escape sequences of terminals; control characters but line break and tab; and the marks that reorder text.
const UNSEEN =
  /\u001b(?:\[[0-?]*[ -/]*[@-~]|[@-_])|[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

/** Return a value as text to show, cut after some characters; what is not a string is "". */
export function plain(value: unknown, most: number): string {
  if (typeof value !== 'string') {
    return '';
  }
  // Cut first, so that a text of many megabytes is not searched.
  const text = value.slice(0, 2 * most).replaceAll('\r\n', '\n').replace(UNSEEN, '');
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** Return a text as one line. */
export function line(value: unknown, most: number): string {
  return plain(value, most).replace(/\s+/g, ' ').trim();
}

/** Return an address that a link may lead to, or "". */
export function link(value: unknown): string {
  return typeof value === 'string' && /^https?:\/\//.test(value) ? value.slice(0, 2000) : '';
}

/** Return an amount of memory as Kubernetes writes it, such as "1.2 GiB". */
export function memory(bytes: number): string {
  const gibibytes = bytes / 2 ** 30;
  return gibibytes >= 1 ? `${gibibytes.toFixed(1)} GiB` : `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}

/** Return a duration such as "40 s" or "3 min". */
export function duration(seconds: number): string {
  return seconds < 120 ? `${seconds.toFixed(0)} s` : `${(seconds / 60).toFixed(0)} min`;
}
