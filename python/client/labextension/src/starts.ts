// The steps of all starts of kernels, as the Jupyter server reports them while the page is visible.

import { ISignal, Signal } from '@lumino/signaling';
import { GatewayApi, NotFound, Step } from './api';

const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 30_000;

export class Starts {
  constructor(private readonly _api: GatewayApi) {}

  /** Emitted for each step, which may be the one before with a greater age. */
  get stepped(): ISignal<this, Step> {
    return this._stepped;
  }

  /** Follow the starts as long as the page is there; a server without the extension ends it at once. */
  async follow(): Promise<void> {
    for (let pause = FIRST_PAUSE; ; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
      await visible();
      const last = this._last;
      try {
        await this._followOnce();
      } catch (error) {
        if (error instanceof NotFound) {
          return;
        }
        console.debug('The stream of the starts of kernels was lost:', error);
      }
      if (this._last !== last || document.hidden) {
        pause = FIRST_PAUSE;
      }
      await new Promise(resolve => window.setTimeout(resolve, pause));
    }
  }

  private async _followOnce(): Promise<void> {
    const ending = new AbortController();
    // A browser has few connections to a server: those of pages that nobody sees are for others.
    const onChange = (): void => {
      if (document.hidden) {
        ending.abort();
      }
    };
    document.addEventListener('visibilitychange', onChange);
    try {
      for await (const [number, step] of this._api.starts(this._last, ending.signal)) {
        this._last = number;
        this._stepped.emit(step);
      }
    } finally {
      document.removeEventListener('visibilitychange', onChange);
      ending.abort();
    }
  }

  private _last: number | undefined = undefined;
  private readonly _stepped = new Signal<this, Step>(this);
}

async function visible(): Promise<void> {
  while (document.hidden) {
    await new Promise(resolve => {
      document.addEventListener('visibilitychange', resolve, { once: true });
    });
  }
}
