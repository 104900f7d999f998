// Plugins for JupyterLab and Notebook: each works alone, and does nothing at servers without our extension.

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IRunningSessionManagers } from '@jupyterlab/running';
import { IStatusBar } from '@jupyterlab/statusbar';
import { GatewayApi, Step } from './api';
import { FailuresPanel } from './failures';
import { GatewayKernels } from './running';
import { Starts } from './starts';
import { Toasts } from './toasts';
import { UsageItem } from './usage';

const NAME = 'gateway-provisioners-client';

const starts: JupyterFrontEndPlugin<void> = {
  id: `${NAME}:starts`,
  description: "Shows the progress of kernels' starts, and why one failed.",
  autoStart: true,
  activate: (app: JupyterFrontEnd) => {
    let panel = new FailuresPanel();
    const show = (): void => {
      app.shell.activateById(panel.id);
    };
    const toasts = new Toasts(show);
    const onStep = (_: Starts, step: Step): void => {
      toasts.show(step);
      if (step.failed) {
        panel = panel.isDisposed ? new FailuresPanel() : panel;
        panel.add(step);
        if (!panel.isAttached) {
          app.shell.add(panel, 'down');
        }
      }
    };
    const followed = new Starts(apiOf(app));
    followed.stepped.connect(onStep);
    void app.restored.then(() => followed.follow());
  }
};

const usage: JupyterFrontEndPlugin<void> = {
  id: `${NAME}:usage`,
  description: 'Shows the memory and CPU of the current kernel in the status bar.',
  autoStart: true,
  requires: [IStatusBar],
  activate: (app: JupyterFrontEnd, statusBar: IStatusBar) => {
    const item = new UsageItem(apiOf(app), app);
    statusBar.registerStatusItem(usage.id, {
      item,
      align: 'left',
      rank: 3,
      isActive: () => item.isActive,
      activeStateChanged: item.activeStateChanged
    });
  }
};

const running: JupyterFrontEndPlugin<void> = {
  id: `${NAME}:running`,
  description: 'Lists the kernels of the gateways among what runs, and attaches them.',
  autoStart: true,
  requires: [IRunningSessionManagers],
  activate: (app: JupyterFrontEnd, managers: IRunningSessionManagers) => {
    const kernels = new GatewayKernels(apiOf(app), app);
    managers.add(kernels); // now, so that it comes after this server's kernels, and not last
    void app.restored.then(() => kernels.start());
  }
};

function apiOf(app: JupyterFrontEnd): GatewayApi {
  return new GatewayApi(app.serviceManager.serverSettings);
}

export default [starts, usage, running];
