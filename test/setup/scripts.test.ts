// The shell half of set-up, with stand-ins for what it would change: `apt-get` and `npx` are scripts here that note that
// they were called. What they are really good for is shown by running set-up on a machine that has nothing.
import { spawn } from "node:child_process"
import { once } from "node:events"
import { chmod, cp, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises"
import os from "node:os"
import path from "node:path"
import process from "node:process"
import { afterEach, beforeEach, expect, test } from "vitest"

const tools = path.join(import.meta.dirname, "../../tools")

let folder: string
let bin: string
let calls: string

beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "ebb-scripts-test-"))
  bin = path.join(folder, "bin")
  calls = path.join(folder, "calls")
  await mkdir(bin)
  await writeFile(calls, "")
})
afterEach(() => rm(folder, { recursive: true, force: true }))

/** Puts a command first on PATH that notes its name and arguments, and then does as `body` says. */
const command = async (name: string, body = ""): Promise<void> => {
  const file = path.join(bin, name)
  await writeFile(file, `#!/bin/sh\necho "${name} $*" >>"${calls}"\n${body}\n`)
  await chmod(file, 0o755)
}

const called = async (): Promise<ReadonlyArray<string>> => {
  const lines = (await readFile(calls, "utf8")).trimEnd()
  return lines === "" ? [] : lines.split("\n")
}

const exists = (file: string): Promise<boolean> =>
  stat(file).then(
    () => true,
    () => false
  )

const cache = (): string => path.join(folder, "cache")

interface Ended {
  readonly code: number | null
  readonly said: string
}

/** Starts a script; `ended` resolves when it has ended and nobody holds its output any more. */
const start = (script: string, args: ReadonlyArray<string> = [], PATH = `${bin}:${process.env["PATH"]}`) => {
  const child = spawn("/bin/sh", [script, ...args], {
    // A process group of its own, as a terminal gives it: Ctrl-C goes to all of it.
    detached: true,
    env: { HOME: folder, TMPDIR: folder, PATH, EBB_CACHE: cache(), EBB_WORKER_BIN: path.join(bin, "worker") },
    stdio: ["ignore", "pipe", "pipe"]
  })
  let said = ""
  child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()))
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()))
  const ended = once(child, "close").then(([code]): Ended => ({ code: code as number | null, said }))
  const signalGroup = (signal: NodeJS.Signals) => process.kill(-(child.pid ?? 0), signal)
  return { child, ended, signalGroup }
}

/** Resolves once the commands' notes contain `what`. */
const untilCalled = async (what: string): Promise<void> => {
  await expect.poll(called, { timeout: 10_000, interval: 20 }).toContainEqual(expect.stringContaining(what))
}

// ---- packages.sh ----

const packages = (...specs: ReadonlyArray<string>) => start(path.join(tools, "packages.sh"), specs)

test("nothing is installed and nothing said when every command and file is there", async () => {
  await command("apt-get")
  expect(await packages("sh=dash", "/etc/passwd=base-passwd").ended).toEqual({ code: 0, said: "" })
  expect(await called()).toEqual([])
})

test("what is absent is installed, and it alone", async () => {
  await command("apt-get")
  const { code } = await packages("sh=dash", "ebb-no-such=one", "/no/such/file=two").ended
  expect(code).toBe(0)
  expect(await called()).toEqual([expect.stringMatching(/--no-install-recommends install one two$/)])
})

test("the package lists are fetched once, where installing fails without", async () => {
  const listed = path.join(folder, "listed")
  await command("apt-get", `case "$*" in *update) : >"${listed}" ;; *) [ -e "${listed}" ] ;; esac`)
  const { code } = await packages("ebb-no-such=one").ended
  expect(code).toBe(0)
  const verbs = (await called()).map((line) => /update|install one/.exec(line)?.[0])
  expect(verbs).toEqual(["install one", "update", "install one"])
})

test("what apt said is shown when it fails", async () => {
  await command("apt-get", "echo E: no such mirror; exit 100")
  const { code, said } = await packages("ebb-no-such=one").ended
  expect(code).not.toBe(0)
  expect(said).toMatch(/E: no such mirror/)
})

test("without root, one message names what is to be installed", async () => {
  await command("apt-get")
  await command("id", "echo 1000")
  const { code, said } = await packages("sh=dash", "ebb-no-such=one", "ebb-nor-this=two").ended
  expect(code).toBe(1)
  expect(said).toMatch(/apt-get install --no-install-recommends one two$/m)
  expect(await called()).toEqual(["id -u"])
})

test("on a system without apt, one message names what is missing", async () => {
  for (const name of ["dirname", "id"]) await symlink(`/usr/bin/${name}`, path.join(bin, name))
  const { code, said } = await start(path.join(tools, "packages.sh"), ["ebb-no-such=one"], bin).ended
  expect(code).toBe(1)
  expect(said).toMatch(/missing: ebb-no-such/)
  expect(said).toMatch(/not Debian/)
})

test("after an apt that was killed no command is believed, and dpkg is mended first", async () => {
  await command("dpkg")
  await command("apt-get", "sleep 60")
  const killed = packages("ebb-no-such=one", "sh=dash")
  await untilCalled("install one")
  killed.signalGroup("SIGKILL")
  await killed.ended

  await command("apt-get")
  const { code } = await packages("sh=dash").ended
  expect(code).toBe(0)
  const after = (await called()).slice(1)
  expect(after).toEqual([
    "dpkg --configure -a",
    expect.stringContaining("--fix-broken install"),
    expect.stringMatching(/install dash$/)
  ])
  expect((await packages("sh=dash").ended).said).toBe("")
})

test("Ctrl-C ends what is running, at once", async () => {
  await command("apt-get", "exec sleep 60")
  const { ended, signalGroup } = packages("ebb-no-such=one")
  await untilCalled("install one")
  signalGroup("SIGINT")
  expect((await ended).code).not.toBe(0)
})

// ---- up.sh, in a small checkout of its own ----

const checkout = (): string => path.join(folder, "checkout")
const up = () => start(path.join(checkout(), "tools/up.sh"))

/** A pnpm that makes of node_modules what set-up looks for. */
const install = () =>
  `mkdir -p node_modules/.bin packages/media/node_modules test/node_modules test/bench/node_modules
   ln -sf "${process.execPath}" node_modules/.bin/node`

const makeCheckout = async (): Promise<void> => {
  await cp(tools, path.join(checkout(), "tools"), { recursive: true })
  for (const at of [".", "packages/media", "test", "test/bench"]) {
    await mkdir(path.join(checkout(), at), { recursive: true })
    await writeFile(path.join(checkout(), at, "package.json"), `{ "type": "module" }`)
  }
  for (const name of ["pnpm-lock.yaml", "pnpm-workspace.yaml"])
    await writeFile(path.join(checkout(), name), "")
  await command("npx", install())
  await writeFile(path.join(bin, "worker"), "#!/bin/sh\nexit 41\n")
  await chmod(path.join(bin, "worker"), 0o755)
}

test("set-up installs once, and is silent from then on", async () => {
  await makeCheckout()
  const first = await up().ended
  expect(first).toMatchObject({ code: 0, said: expect.stringContaining("installing npm packages") })
  expect(await up().ended).toEqual({ code: 0, said: "" })
  expect(await called()).toEqual([expect.stringMatching(/^npx --yes pnpm@\S+ install --frozen-lockfile/)])
})

test.for(["pnpm-lock.yaml", "packages/media/package.json"])(
  "a changed %s is installed anew",
  async (name) => {
    await makeCheckout()
    await up().ended
    await writeFile(path.join(checkout(), name), `{ "type": "module", "changed": true }`)
    expect((await up().ended).code).toBe(0)
    expect(await called()).toHaveLength(2)
  }
)

test("a removed node_modules of one package is installed anew", async () => {
  await makeCheckout()
  await up().ended
  await rm(path.join(checkout(), "packages/media/node_modules"), { recursive: true })
  expect((await up().ended).code).toBe(0)
  expect(await called()).toHaveLength(2)
})

test("an installation that was killed is begun again with an empty node_modules", async () => {
  await makeCheckout()
  const torn = path.join(checkout(), "node_modules/torn")
  await command("npx", `mkdir -p "${torn}"; exec sleep 60`)
  const killed = up()
  await untilCalled("npx")
  killed.signalGroup("SIGKILL")
  await killed.ended

  await command("npx", install())
  const again = await up().ended
  expect(again).toMatchObject({ code: 0, said: expect.stringContaining("cut off") })
  expect(await exists(torn)).toBe(false)
})

test("an installation that failed is said to have failed, and is tried again the next time", async () => {
  await makeCheckout()
  await command("npx", "echo ERR_PNPM_FETCH; exit 1")
  expect(await up().ended).toMatchObject({ code: 1, said: expect.stringContaining("ERR_PNPM_FETCH") })
  await command("npx", install())
  expect((await up().ended).code).toBe(0)
})

test("of two at once one installs, and the other waits for it", async () => {
  await makeCheckout()
  const go = path.join(folder, "go")
  await command("npx", `while [ ! -e "${go}" ]; do sleep 0.05; done\n${install()}`)
  const [one, two] = [up(), up()]
  const waiting = new Promise<void>((resolve) => {
    for (const { child } of [one, two]) {
      child.stderr.on("data", (chunk: Buffer) => {
        if (chunk.toString().includes("waiting for another set-up")) resolve()
      })
    }
  })
  await Promise.all([waiting, untilCalled("npx")])
  await writeFile(go, "")
  expect((await Promise.all([one.ended, two.ended])).map(({ code }) => code)).toEqual([0, 0])
  expect(await called()).toHaveLength(1)
})

test("a worker of one's own that does not start is refused", async () => {
  await makeCheckout()
  await writeFile(path.join(bin, "worker"), "#!/bin/sh\nexit 1\n")
  expect(await up().ended).toMatchObject({ code: 1, said: expect.stringContaining("does not start") })
})
