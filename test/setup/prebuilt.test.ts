// mediasoup's own install script against a server of ours, in place of the one where mediasoup's authors publish.
import { execFile } from "node:child_process"
import { createServer, type RequestListener, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { mkdir, mkdtemp, readFile, readdir, realpath, rm, writeFile } from "node:fs/promises"
import os from "node:os"
import path from "node:path"
import { promisify } from "node:util"
import { version, workerBin } from "mediasoup"
import { afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest"
import { starts } from "../../tools/worker/cache.ts"
import { downloadPrebuilt, type Options } from "../../tools/worker/prebuilt.ts"

const run = promisify(execFile)

let mediasoup: string
let folder: string
let servers: Array<Server>

beforeAll(async () => {
  mediasoup = await realpath(path.join(import.meta.dirname, "../node_modules/mediasoup"))
})
beforeEach(async () => {
  servers = []
  vi.stubEnv("MEDIASOUP_SKIP_WORKER_PREBUILT_DOWNLOAD", "")
  folder = await mkdtemp(path.join(os.tmpdir(), "ebb-prebuilt-test-"))
  await mkdir(path.join(folder, "scratch"))
})
afterEach(async () => {
  vi.unstubAllEnvs()
  for (const server of servers) {
    server.closeAllConnections()
    server.close()
  }
  await rm(folder, { recursive: true, force: true })
})

const serve = async (listener: RequestListener): Promise<void> => {
  const server = createServer(listener)
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const { port } = server.address() as AddressInfo
  vi.stubEnv("MEDIASOUP_WORKER_PREBUILT_DOWNLOAD_BASE_URL", `http://127.0.0.1:${port}/download`)
}

const tarball = async (worker: string): Promise<Buffer> => {
  const file = path.join(folder, "worker.tgz")
  await run("tar", ["-czf", file, "-C", path.dirname(worker), path.basename(worker)])
  return readFile(file)
}

const download = (options?: Partial<Options>): Promise<boolean> =>
  downloadPrebuilt(path.join(folder, "worker"), {
    mediasoup,
    scratch: path.join(folder, "scratch"),
    say: () => {},
    ...options
  })

/** Nothing of a build was begun: neither its tools nor its output are there. */
const expectNoBuild = async (): Promise<void> => {
  const names = await readdir(path.join(folder, "scratch"), { recursive: true })
  expect(names.filter((name) => /pip|meson|ninja|mediasoup-worker$/.test(name))).toEqual([])
}

test("mediasoup's prebuilt worker is taken where it can be downloaded", async () => {
  const asked: Array<string | undefined> = []
  const content = await tarball(await realpath(workerBin))
  await serve((request, response) => {
    asked.push(request.url)
    response.end(content)
  })
  expect(await download()).toBe(true)
  expect(await starts(path.join(folder, "worker"))).toBe(true)
  expect(asked).toHaveLength(1)
  expect(asked[0]).toMatch(new RegExp(`^/download/${version}/mediasoup-worker-${version}-linux-.*\\.tgz$`))
})

test.for([
  { name: "there is none for this machine", status: 404, body: "" },
  { name: "the server is out of order", status: 500, body: "" },
  { name: "what comes is not a tarball", status: 200, body: "<!doctype html>" }
])("where $name, set-up goes on without it and builds nothing with meson", async ({ status, body }) => {
  await serve((_, response) => response.writeHead(status).end(body))
  expect(await download({ downloadMillis: 10_000 })).toBe(false)
  await expectNoBuild()
})

test("a prebuilt worker that does not run here is not taken", async () => {
  const broken = path.join(folder, "mediasoup-worker")
  await writeFile(broken, "#!/bin/sh\nexit 1\n", { mode: 0o755 })
  const content = await tarball(broken)
  await serve((_, response) => response.end(content))
  expect(await download()).toBe(false)
  await expectNoBuild()
})

test("a server that does not answer is given up", async () => {
  await serve(() => {})
  expect(await download({ downloadMillis: 500 })).toBe(false)
  await expectNoBuild()
})

test("without a connection nothing is started at all", async () => {
  await serve(() => {})
  const [server] = servers
  await new Promise((resolve) => server?.close(resolve))
  const said: Array<string> = []
  expect(await download({ say: (line) => said.push(line) })).toBe(false)
  expect(said.join()).toMatch(/no connection to 127\.0\.0\.1/)
  expect(await readdir(path.join(folder, "scratch"))).toEqual([])
})
