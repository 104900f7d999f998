// The status bar's item with the memory and CPU of the current kernel, asked for while somebody can see it.

import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { ISessionContext } from '@jupyterlab/apputils';
import { Poll } from '@lumino/polling';
import { ISignal, Signal } from '@lumino/signaling';
import { Widget } from '@lumino/widgets';
import { GatewayApi, Kernel, NotFound, Usage } from './api';
import { memory } from './text';

// A gateway asks a kernel's launcher at most this often.
const INTERVAL = 5_000;
/** CPU time is measured over this long: two answers may be the same measurement. */
const CPU_WINDOW_SECONDS = 15;
/** From this part of its limit on, the memory is shown as a warning. */
const FULL = 0.9;

export class UsageItem extends Widget {
  constructor(
    private readonly _api: GatewayApi,
    private readonly _app: JupyterFrontEnd
  ) {
    super();
    this.addClass('gp-Usage');
    this._poll = new Poll({
      factory: (): Promise<void> => this._refresh(),
      frequency: { interval: INTERVAL, backoff: true, max: 60_000 },
      name: 'gateway-provisioners:usage',
      standby: (): boolean => this._standsBy()
    });
    const { currentChanged } = this._app.shell;
    currentChanged?.connect(this._follow, this);
    this._follow();
  }

  /** Return whether the current kernel is a gateway's, and its usage known. */
  get isActive(): boolean {
    return this.node.textContent !== '';
  }

  get activeStateChanged(): ISignal<this, void> {
    return this._activeStateChanged;
  }

  override dispose(): void {
    this._poll.dispose();
    Signal.clearData(this);
    super.dispose();
  }

  /** Use the kernel of the widget that is in front now. */
  private _follow(): void {
    const context = contextOf(this._app.shell.currentWidget);
    if (context !== this._context) {
      this._context?.kernelChanged.disconnect(this._onKernel, this);
      context?.kernelChanged.connect(this._onKernel, this);
      this._context = context;
    }
    this._onKernel();
  }

  private _onKernel(): void {
    const id = this._context?.session?.kernel?.id ?? '';
    if (id !== this._kernel) {
      this._kernel = id;
      this._samples = [];
      this._show('', '');
      void this._poll.refresh();
    }
  }

  private _standsBy(): boolean {
    return document.hidden || !this._kernel || this._local.has(this._kernel);
  }

  private async _refresh(): Promise<void> {
    const id = this._kernel;
    try {
      const kernel = await this._api.kernel(id);
      if (id === this._kernel) {
        this._showKernel(kernel);
      }
    } catch (error) {
      if (!(error instanceof NotFound)) {
        this._show('', '');
        throw error; // so that the poll asks less often
      }
      if (!this._maybeLater()) {
        this._local.add(id);
        return;
      }
      throw error;
    }
  }

  /** Return whether the server may find the kernel later: one of a kernelspec of this package is starting. */
  private _maybeLater(): boolean {
    const name = this._context?.session?.kernel?.name ?? '';
    const spec = this._app.serviceManager.kernelspecs.specs?.kernelspecs[name];
    return spec?.metadata?.['gateway_provisioners_client'] !== undefined;
  }

  private _showKernel({ gateway, image, node, usage }: Kernel): void {
    const parts = usage ? [memoryOf(usage), this._cpuOf(usage)].filter(part => part) : [];
    const title = [
      `Gateway: ${gateway}`,
      image && `Image: ${image}`,
      node && `Node: ${node}`
    ].filter(part => part);
    this.toggleClass('gp-mod-full', usage !== undefined && shareOf(usage) >= FULL);
    this._show(parts.join('  ·  '), title.join('\n'));
  }

  private _show(text: string, title: string): void {
    const wasActive = this.isActive;
    this.node.textContent = text;
    this.node.title = title;
    if (wasActive !== this.isActive) {
      this._activeStateChanged.emit();
    }
  }

  private _cpuOf(usage: Usage): string {
    if (usage.cpu === undefined) {
      return '';
    }
    const now = performance.now() / 1000;
    const { cpu } = usage;
    this._samples = this._samples.filter(
      sample => sample.at > now - CPU_WINDOW_SECONDS && sample.cpu <= cpu // else it was restarted
    );
    this._samples.push({ at: now, cpu });
    const [first] = this._samples;
    if (!first || first.at === now) {
      return '';
    }
    const cores = ((cpu - first.cpu) / (now - first.at)).toFixed(1);
    return usage.cpuLimit === undefined
      ? `CPU: ${cores}`
      : `CPU: ${cores} / ${Number(usage.cpuLimit.toFixed(2)).toString()}`;
  }

  private _context: ISessionContext | undefined = undefined;
  private _kernel = '';
  private readonly _local = new Set<string>();
  private readonly _poll: Poll;
  private _samples: { at: number; cpu: number }[] = [];
  private readonly _activeStateChanged = new Signal<this, void>(this);
}

/** Return the session of a notebook, a console, or another widget that has one. */
function contextOf(widget: Widget | null): ISessionContext | undefined {
  const owner = widget as { sessionContext?: ISessionContext } | null;
  return owner?.sessionContext;
}

function memoryOf(usage: Usage): string {
  if (usage.memory === undefined) {
    return '';
  }
  const limit = usage.memoryLimit === undefined ? '' : ` / ${memory(usage.memoryLimit)}`;
  return `Kernel memory: ${memory(usage.memory)}${limit}`;
}

function shareOf({ memory: used, memoryLimit: limit }: Usage): number {
  return used !== undefined && limit ? used / limit : 0;
}
