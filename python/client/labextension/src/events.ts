// Server-sent events, read by fetch: unlike EventSource, it shows the token in a header and says which status came.

/** A stream of which nothing has come for this long is dead: the server sends a comment every 30 seconds. */
const SILENCE_MILLISECONDS = 90_000;
const MOST_CHARACTERS = 1_000_000;

export interface ServerSentEvent {
  readonly id: string;
  readonly data: string;
}

/** Yield the events of a response's body until it ends; throws if it is silent, or its event too long. */
export async function* serverSentEvents(
  body: ReadableStream<Uint8Array>
): AsyncGenerator<ServerSentEvent> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await notSilent(reader.read());
      if (done) {
        return;
      }
      rest += decoder.decode(value, { stream: true }).replaceAll('\r', '');
      const blocks = rest.split('\n\n');
      rest = blocks.pop() ?? '';
      if (rest.length > MOST_CHARACTERS) {
        throw new Error('An event is too long.');
      }
      yield* blocks.map(eventOf).filter(event => event.data);
    }
  } finally {
    await reader.cancel().catch(() => undefined); // of a connection that is lost
  }
}

function eventOf(block: string): ServerSentEvent {
  const field = (name: string): string =>
    block
      .split('\n')
      .filter(each => each.startsWith(`${name}:`))
      .map(each => each.slice(name.length + 1).trimStart())
      .join('\n');
  return { id: field('id'), data: field('data') };
}

async function notSilent<T>(read: Promise<T>): Promise<T> {
  let timer = 0;
  const silence = new Promise<never>((_, reject) => {
    timer = window.setTimeout(() => {
      reject(new Error('The stream is silent.'));
    }, SILENCE_MILLISECONDS);
  });
  try {
    return await Promise.race([read, silence]);
  } finally {
    window.clearTimeout(timer);
  }
}
