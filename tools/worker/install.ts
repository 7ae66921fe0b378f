// The worker part of set-up: after it, mediasoup's plain `createWorker()` finds a worker that works.
//
// It stays in the cache; mediasoup's default place gets a link to it. `EBB_WORKER_BIN` or `MEDIASOUP_WORKER_BIN` names a
// worker of one's own, and then nothing is built. tools/up.sh holds the lock that keeps two of these apart.
import { lstat, mkdir, readFile, readlink, realpath, rename, rm, symlink } from "node:fs/promises"
import path from "node:path"
import process from "node:process"
import { buildWorker, recipe } from "./build.ts"
import { cacheFolder, cacheRoot, ensureWorker, starts } from "./cache.ts"
import { downloadPrebuilt } from "./prebuilt.ts"

const say = (line: string): void => console.error(`set-up: ${line}`)

/** Makes `link` point to `worker` in one step: a node that starts meanwhile finds the old or the new one. */
const point = async (link: string, worker: string): Promise<void> => {
  const current = await lstat(link).catch(() => undefined)
  if (current?.isSymbolicLink() && (await readlink(link)) === worker) return
  await mkdir(path.dirname(link), { recursive: true })
  const fresh = `${link}.${process.pid}`
  await rm(fresh, { force: true })
  await symlink(worker, fresh)
  await rename(fresh, link)
}

const install = async (): Promise<void> => {
  const own = process.env["EBB_WORKER_BIN"] ?? process.env["MEDIASOUP_WORKER_BIN"]
  if (own !== undefined && own !== "") {
    if (!(await starts(own))) throw new Error(`${own} is named as the mediasoup worker, and does not start`)
    return
  }

  const mediasoup = await realpath(
    path.join(import.meta.dirname, "../../packages/media/node_modules/mediasoup")
  )
  const manifest = JSON.parse(await readFile(path.join(mediasoup, "package.json"), "utf8")) as {
    readonly version: string
  }
  const worker = await ensureWorker({
    folder: await cacheFolder(cacheRoot(), manifest.version, recipe),
    sources: [
      {
        name: "mediasoup's prebuilt worker",
        make: (target, scratch) => downloadPrebuilt(target, { mediasoup, scratch, say })
      },
      {
        name: "building the worker",
        make: (target, scratch) => buildWorker(target, { mediasoup, scratch, say })
      }
    ],
    accept: async (made) => {
      const { verifyWorker } = await import("./verify.ts")
      await verifyWorker(made)
      say("the worker passes its checks: WebRTC transport, SRTP, SCTP")
    },
    say
  })
  await point(path.join(mediasoup, "worker/out/Release/mediasoup-worker"), worker)
}

try {
  await install()
} catch (error) {
  say(error instanceof Error ? error.message : String(error))
  process.exitCode = 1
}
