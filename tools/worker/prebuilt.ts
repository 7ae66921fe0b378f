// The worker that mediasoup's authors build and publish, had by mediasoup's own install script. That script falls back to
// building with meson, which downloads a dozen things and takes minutes: here it may only ever download.
import { spawn } from "node:child_process"
import { readFile, rename } from "node:fs/promises"
import { connect } from "node:net"
import path from "node:path"
import process from "node:process"

export interface Options {
  /** The folder of the mediasoup package. */
  readonly mediasoup: string
  /** An empty folder to download to. */
  readonly scratch: string
  readonly say: (line: string) => void
  /** How long to wait for the server to accept a connection. Default: 3 s. */
  readonly connectMillis?: number
  /** How long the download may take, 2 MB. When it is over, the caller goes on without. Default: 60 s. */
  readonly downloadMillis?: number
}

/** Whether the server takes connections, so that a machine without the internet loses seconds and not minutes. */
const answers = (url: URL, millis: number): Promise<boolean> =>
  new Promise((resolve) => {
    const port = url.port === "" ? (url.protocol === "http:" ? 80 : 443) : Number(url.port)
    const socket = connect({ host: url.hostname, port })
    const timer = setTimeout(() => done(false), millis)
    const done = (answered: boolean) => {
      clearTimeout(timer)
      socket.destroy()
      resolve(answered)
    }
    socket.on("connect", () => done(true))
    socket.on("error", () => done(false))
  })

/** Puts mediasoup's prebuilt worker at `target`; false if there is none for this machine, or no way to get it. */
export const downloadPrebuilt = async (target: string, options: Options): Promise<boolean> => {
  const { mediasoup, scratch, say, connectMillis = 3000, downloadMillis = 60_000 } = options
  if (process.env["MEDIASOUP_SKIP_WORKER_PREBUILT_DOWNLOAD"]) return false

  const manifest = JSON.parse(await readFile(path.join(mediasoup, "package.json"), "utf8")) as {
    readonly repository: { readonly url: string }
  }
  const base =
    process.env["MEDIASOUP_WORKER_PREBUILT_DOWNLOAD_BASE_URL"] ??
    manifest.repository.url.replace(/^git\+/, "")
  if (!(await answers(new URL(base), connectMillis))) {
    say(`mediasoup's prebuilt worker cannot be downloaded: no connection to ${new URL(base).host}`)
    return false
  }

  say("downloading mediasoup's prebuilt worker")
  // The script writes below its working directory, so the package itself stays as it is.
  const child = spawn(process.execPath, [path.join(mediasoup, "npm-scripts.mjs"), "postinstall"], {
    cwd: scratch,
    env: {
      ...process.env,
      MEDIASOUP_WORKER_BIN: "",
      MEDIASOUP_LOCAL_DEV: "",
      MEDIASOUP_FORCE_WORKER_PREBUILT_DOWNLOAD: "1",
      // Its build starts with Python: with this in its place it ends there, and the script exits with 1.
      PYTHON: "/bin/false"
    },
    stdio: "ignore",
    timeout: downloadMillis,
    killSignal: "SIGKILL"
  })
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject)
    child.on("exit", resolve)
  })
  if (code !== 0) {
    say("mediasoup has no prebuilt worker that runs here")
    return false
  }
  await rename(path.join(scratch, "worker/out/Release/mediasoup-worker"), target)
  return true
}
