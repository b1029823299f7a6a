/** Slurm on this machine for tests: munged, slurmctld and two slurmd, with keys, ports and folders of their own. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Daemons live where a user's PATH may not lead. */
const PATH = `${process.env['PATH'] ?? ''}${delimiter}/usr/sbin`;

function isInstalled(program: string): boolean {
  return PATH.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Why there can be no cluster here; undefined if there can. */
export function slurmIsMissing(): string | undefined {
  const missing = ['srun', 'slurmctld', 'slurmd', 'munged'].filter((name) => !isInstalled(name));
  if (missing.length > 0) {
    return `${missing.join(', ')} not installed; apt-get install slurm-wlm slurmctld slurmd munge`;
  }
  return process.getuid?.() === 0 ? undefined : 'slurmd and munged want root here';
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => new Promise((done) => server.once('listening', done))));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}

/** A job that takes longer hangs. */
const SRUN_MS = 60_000;

/** How srun ended. */
export interface SrunResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Two nodes, n1 and n2, that are both this machine. */
export class SlurmCluster {
  readonly #folder: string;
  readonly #daemons: ChildProcess[] = [];
  readonly #env: NodeJS.ProcessEnv;

  private constructor(folder: string) {
    this.#folder = folder;
    const { SLURM_CONF, ...env } = { ...process.env, PATH, SLURM_CONF: join(folder, 'slurm.conf') };
    this.#env = { ...env, SLURM_CONF };
  }

  /** Starts all daemons; resolves when both nodes take jobs. The folder must be empty. */
  static async start(folder: string): Promise<SlurmCluster> {
    const cluster = new SlurmCluster(folder);
    try {
      await cluster.#start();
      return cluster;
    } catch (error) {
      await cluster.stop();
      throw error;
    }
  }

  /** Runs `srun` with these arguments to its end. */
  async srun(args: readonly string[]): Promise<SrunResult> {
    try {
      const { stdout, stderr } = await run('srun', ['--quiet', ...args], {
        env: this.#env,
        timeout: SRUN_MS,
      });
      return { status: 0, stdout, stderr };
    } catch (error) {
      const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
      return { status: code, stdout, stderr };
    }
  }

  /** Ends jobs that still run, whose steps would outlive the daemons, then these. */
  async stop(): Promise<void> {
    await this.#cancelJobs();
    for (const daemon of this.#daemons.splice(0).reverse()) {
      if (daemon.exitCode !== null || daemon.signalCode !== null) continue;
      const ended = new Promise((done) => daemon.once('exit', done));
      daemon.kill('SIGTERM');
      const late = setTimeout(() => daemon.kill('SIGKILL'), 5000);
      await ended;
      clearTimeout(late);
    }
  }

  async #cancelJobs(): Promise<void> {
    const options = { env: this.#env, timeout: 5000 };
    try {
      for (let looks = 0; looks < 50; looks++) {
        const { stdout } = await run('squeue', ['-h', '-o', '%A'], options);
        if (stdout.trim() === '') return;
        await run('scancel', stdout.trim().split(/\s+/), options);
        await sleep(100);
      }
    } catch {
      // Nobody answers: the cluster has not started, and has no jobs.
    }
  }

  async #start(): Promise<void> {
    const folder = this.#folder;
    const munge = join(folder, 'munge');
    mkdirSync(munge);
    // munged insists that others can pass to its socket.
    chmodSync(munge, 0o755);
    mkdirSync(join(folder, 'state'));
    const key = join(munge, 'key');
    writeFileSync(key, randomBytes(128), { mode: 0o400 });
    const socket = join(munge, 'socket');
    this.#spawn('munged', [
      '--foreground',
      '--force',
      `--key-file=${key}`,
      `--socket=${socket}`,
      `--pid-file=${munge}/pid`,
      `--log-file=${munge}/log`,
      `--seed-file=${munge}/seed`,
    ]);
    await this.#until('munged', () => existsSync(socket));
    const [controller = 0, first = 0, second = 0] = await freePorts(3);
    writeFileSync(
      join(folder, 'slurm.conf'),
      this.#configuration(socket, controller, [first, second]),
    );
    this.#spawn('slurmctld', ['-D']);
    for (const node of ['n1', 'n2']) this.#spawn('slurmd', ['-D', '-N', node]);
    await this.#until('the nodes', async () => {
      const { stdout } = await run('sinfo', ['-h', '-N', '-o', '%T'], { env: this.#env });
      return stdout.trim().split(/\s+/).join() === 'idle,idle';
    });
  }

  #configuration(socket: string, controller: number, ports: readonly number[]): string {
    const folder = this.#folder;
    const host = hostname();
    return `ClusterName=viaduct
SlurmctldHost=${host}(127.0.0.1)
SlurmctldPort=${controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=${socket}
CredType=cred/munge
StateSaveLocation=${folder}/state
SlurmdSpoolDir=${folder}/spool-%n
SlurmctldPidFile=${folder}/slurmctld.pid
SlurmdPidFile=${folder}/slurmd-%n.pid
SlurmctldLogFile=${folder}/slurmctld.log
SlurmdLogFile=${folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=pmi2
SlurmdParameters=config_overrides
NodeName=n[1-2] NodeHostname=${host} NodeAddr=127.0.0.1 Port=[${ports.join(',')}] CPUs=2 State=UNKNOWN
PartitionName=p Nodes=ALL Default=YES MaxTime=INFINITE State=UP
`;
  }

  #spawn(program: string, args: readonly string[]): void {
    const daemon = spawn(program, args, { env: this.#env, stdio: 'ignore' });
    daemon.on('error', () => {});
    this.#daemons.push(daemon);
  }

  /** Waits; when a daemon ends instead, throws what it logged. tap's timeout is the limit. */
  async #until(what: string, isThere: () => boolean | Promise<boolean>): Promise<void> {
    while (!(await Promise.resolve(isThere()).catch(() => false))) {
      const ended = this.#daemons.some(
        ({ exitCode, signalCode }) => exitCode !== null || signalCode !== null,
      );
      if (ended) throw new Error(`waiting for ${what}: a daemon ended\n${this.#logs()}`);
      await sleep(100);
    }
  }

  #logs(): string {
    return ['munge/log', 'slurmctld.log', 'slurmd-n1.log', 'slurmd-n2.log']
      .map((name) => join(this.#folder, name))
      .filter((path) => existsSync(path))
      .map((path) => `${path}:\n${readFileSync(path, 'utf8')}`)
      .join('\n');
  }
}
