// "Gateway kernels" in the panel of what runs: every kernel of the gateways, those of earlier servers as well.

import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Dialog, showDialog, showErrorMessage } from '@jupyterlab/apputils';
import { Time } from '@jupyterlab/coreutils';
import type { IRunningSessions } from '@jupyterlab/running';
import { kernelIcon } from '@jupyterlab/ui-components';
import { find } from '@lumino/algorithm';
import { Poll } from '@lumino/polling';
import { ISignal, Signal } from '@lumino/signaling';
import { GatewayApi, RunningKernel } from './api';

const INTERVAL = 10_000;

/** Where a user continues with a kernel. */
type Place = 'console' | 'notebook';

export class GatewayKernels implements IRunningSessions.IManager {
  constructor(
    private readonly _api: GatewayApi,
    private readonly _app: JupyterFrontEnd
  ) {
    this._poll = new Poll({
      auto: false,
      factory: (): Promise<void> => this._refresh(),
      frequency: { interval: INTERVAL, backoff: true, max: 60_000 },
      name: 'gateway-provisioners:running',
      standby: (): boolean => document.hidden || !this._isSeen()
    });
  }

  readonly name = 'Gateway Kernels';
  readonly shutdownLabel = 'Shut Down Kernel';
  readonly shutdownAllLabel = 'Shut Down All';
  readonly shutdownAllConfirmationText =
    'Are you sure you want to shut down all kernels of the gateway, those of other Jupyter servers as well?';

  get runningChanged(): ISignal<this, void> {
    return this._runningChanged;
  }

  /** List the kernels from now on, while their user can see the list. */
  async start(): Promise<void> {
    this._app.serviceManager.kernels.runningChanged.connect(this.refreshRunning, this);
    await this._poll.start();
  }

  running(): IRunningSessions.IRunningItem[] {
    return this._kernels.map(kernel => this._itemOf(kernel));
  }

  refreshRunning(): void {
    void this._poll.refresh();
  }

  shutdownAll(): void {
    void this._do(Promise.all(this._kernels.map(kernel => this._api.shutDown(kernel))));
  }

  private _itemOf(kernel: RunningKernel): IRunningSessions.IRunningItem {
    const item: IRunningSessions.IRunningItem = {
      className: 'gp-RunningKernel',
      icon: () => kernelIcon,
      label: () => kernel.name,
      labelTitle: () => titleOf(kernel),
      detail: () => detailOf(kernel),
      shutdown: () => {
        void this._do(this._api.shutDown(kernel));
      }
    };
    if (kernel.attachable || kernel.localId) {
      item.open = (): void => {
        void this._do(this._open(kernel));
      };
    }
    return item;
  }

  /** Ask where to continue with a kernel, attach it unless it is this server's, and open it there. */
  private async _open(kernel: RunningKernel): Promise<void> {
    const place = await placeFor(kernel);
    if (!place) {
      return;
    }
    const id = kernel.localId || (await this._api.attach(kernel));
    const { kernels } = this._app.serviceManager;
    await kernels.refreshRunning();
    const model = find(kernels.running(), each => each.id === id);
    if (place === 'console') {
      const kernelPreference = { id, name: model?.name ?? kernel.name };
      await this._app.commands.execute('console:create', { kernelPreference, activate: true });
    } else {
      const args = { kernelId: id, kernelName: model?.name ?? kernel.name };
      await this._app.commands.execute('notebook:create-new', args);
    }
  }

  /** Show a failure to the user, and what runs afterwards. */
  private async _do(action: Promise<unknown>): Promise<void> {
    try {
      await action;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      await showErrorMessage('The gateway has refused', { message: message || 'Not found.' });
    }
    await this._app.serviceManager.kernels.refreshRunning();
    this.refreshRunning();
  }

  private async _refresh(): Promise<void> {
    try {
      this._kernels = await this._api.running();
    } catch (error) {
      this._kernels = [];
      throw error; // so that the poll asks less often
    } finally {
      this._runningChanged.emit();
    }
  }

  private _isSeen(): boolean {
    const { shell } = this._app;
    const panels = ['left', 'right'].flatMap(area => [...shell.widgets(area)]);
    return panels.some(panel => panel.id === 'jp-running-sessions' && panel.isVisible);
  }

  private _kernels: RunningKernel[] = [];
  private readonly _poll: Poll;
  private readonly _runningChanged = new Signal<this, void>(this);
}

/** Return whether a kernel is this server's or how long it has done nothing: the panel is narrow. */
function detailOf({ lastActivity, localId, state }: RunningKernel): string {
  if (localId) {
    return `${state}, here`;
  }
  return lastActivity ? `${state}, ${Time.formatHuman(lastActivity, 'narrow')}` : state;
}

function titleOf(kernel: RunningKernel): string {
  return [
    `Gateway: ${kernel.gateway}`,
    `Kernel: ${kernel.id}`,
    `Connections: ${kernel.connections}`,
    kernel.lastActivity && `Last activity: ${kernel.lastActivity.toLocaleString()}`
  ]
    .filter(part => part)
    .join('\n');
}

async function placeFor(kernel: RunningKernel): Promise<Place | undefined> {
  const { button } = await showDialog({
    title: `Continue with ${kernel.name}`,
    body: 'Its variables are as they were left. Where do you want to use them?',
    buttons: [
      Dialog.cancelButton(),
      Dialog.createButton({ label: 'Console', actions: ['console'] }),
      Dialog.okButton({ label: 'New Notebook', actions: ['notebook'] })
    ]
  });
  const [action] = button.actions;
  return action === 'console' || action === 'notebook' ? action : undefined;
}
