/** Every way to prove to a real nats-server who one is, and to know the server, right and wrong; and that no secret is said anywhere. */
import { layerNats, NatsConnection, type NatsOptions } from "@ebb/actors"
import { startMediaNode } from "@ebb/media"
import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import { chmod, readFile, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { nkeys } from "nats"
import { ebbNodeArgs } from "../support/ebbNode.ts"
import { startProgram } from "../support/program.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"
import { until } from "../support/until.ts"
import { makeAuthority } from "./certificates.ts"
import { natsConfigured, startConfigured } from "./configuredNats.ts"

const jetStream = `jetstream { store_dir: "" }`

/** Files of a test, by name. */
const files = Effect.fnUntraced(function* (content: Readonly<Record<string, string>>) {
  const folder = yield* temporaryFolder
  yield* Effect.promise(() =>
    Promise.all(Object.entries(content).map(([name, text]) => writeFile(join(folder, name), text)))
  )
  return (name: string) => join(folder, name)
})

/** Connects, and uses the registry. */
const connects = (options: Omit<NatsOptions, "name">) =>
  Layer.build(layerNats({ ...options, name: "n1", cluster: "test" })).pipe(
    Effect.map((context) => Context.get(context, NatsConnection)),
    Effect.tap(({ client }) => Effect.promise(() => client.flush()))
  )

const refused = (options: Omit<NatsOptions, "name">) =>
  Effect.map(Effect.flip(connects({ ...options, firstConnect: "wait" })), (error) => {
    expect(error).toMatchObject({ _tag: "NatsRefused", retry: "never" })
    return error.message
  })

/** Everything that is logged, whatever it is. */
const listening = <A, E, R>(run: (said: () => string) => Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const lines: Array<string> = []
    const logger = Logger.make(({ cause, message }) => void lines.push(JSON.stringify([message, cause])))
    return Effect.provide(
      run(() => lines.join("\n")),
      Logger.layer([logger])
    )
  })

// The parts of a JWT that nats-server reads, signed as it wants them.
const jwt = (
  claims: object,
  issuer: { readonly getPublicKey: () => string; readonly sign: (bytes: Uint8Array) => Uint8Array }
) => {
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url")
  const body = `${encode({ typ: "JWT", alg: "ed25519-nkey" })}.${encode({ jti: "1", iat: 1_700_000_000, iss: issuer.getPublicKey(), ...claims })}`
  return `${body}.${Buffer.from(issuer.sign(Buffer.from(body))).toString("base64url")}`
}

const unlimited = { subs: -1, data: -1, payload: -1 }

/** An operator's nats-server, and creds files for it. */
const makeOperator = () => {
  const operator = nkeys.createOperator()
  const account = nkeys.createAccount()
  const accountLimits = { ...unlimited, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 }
  const accountJwt = jwt(
    {
      sub: account.getPublicKey(),
      name: "EBB",
      nats: { type: "account", version: 2, limits: accountLimits }
    },
    operator
  )
  const operatorJwt = jwt(
    { sub: operator.getPublicKey(), name: "O", nats: { type: "operator", version: 2 } },
    operator
  )
  const credsOf = (signer: typeof account) => {
    const user = nkeys.createUser()
    const token = jwt(
      { sub: user.getPublicKey(), name: "node", nats: { type: "user", version: 2, ...unlimited } },
      signer
    )
    const seed = Buffer.from(user.getSeed()).toString()
    return {
      seed,
      text: `-----BEGIN NATS USER JWT-----\n${token}\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n${seed}\n------END USER NKEY SEED------\n`
    }
  }
  return {
    config: `operator: ${operatorJwt}\nresolver: MEMORY\nresolver_preload: { ${account.getPublicKey()}: ${accountJwt} }`,
    good: credsOf(account),
    stranger: credsOf(nkeys.createAccount())
  }
}

const nkeyUser = () => {
  const user = nkeys.createUser()
  return { publicKey: user.getPublicKey() as string, seed: Buffer.from(user.getSeed()).toString() }
}

describe("credentials", () => {
  it.live("a token: the right one gets in, a wrong one is told what to do, and neither is said", () =>
    listening((said) =>
      Effect.gen(function* () {
        const servers = yield* natsConfigured(`${jetStream}\nauthorization { token: right-token }`)
        yield* connects({ servers, token: Redacted.make("right-token") })
        const message = yield* refused({ servers, token: Redacted.make("wrong-token") })
        expect(message).toContain("refuses these credentials; check user and password, token, nkey or creds")
        expect(yield* refused({ servers })).toContain("refuses these credentials")
        expect(said() + message).not.toMatch(/right-token|wrong-token/)
      })
    )
  )

  it.live("an nkey: by its seed in a file, which is read again when the connection is made again", () =>
    listening((said) =>
      Effect.gen(function* () {
        const [old, next] = [nkeyUser(), nkeyUser()]
        const users = (key: string) => `${jetStream}\nauthorization { users: [{ nkey: ${key} }] }`
        const { address: servers, configure } = yield* startConfigured(users(old.publicKey))
        const file = yield* files({
          seed: `${old.seed}\n\n`,
          stranger: nkeyUser().seed,
          jumble: `${old.seed.slice(0, -4)}AAAA`
        })
        const { client, isConnected } = yield* connects({ servers, nkeyFile: file("seed") })
        expect(yield* refused({ servers, nkeyFile: file("stranger") })).toContain("refuses these credentials")
        expect(yield* refused({ servers, nkeyFile: file("nowhere") })).toContain(
          `${file("nowhere")} cannot be read (ENOENT)`
        )
        const message = yield* refused({ servers, nkeyFile: file("jumble") })
        expect(message).toContain(`${file("jumble")} does not hold an nkey seed`)
        expect(said() + message).not.toContain(old.seed.slice(4, -4))

        const reconnected = Effect.gen(function* () {
          const before = client.info?.client_id
          yield* Effect.promise(() => client.reconnect())
          yield* until(
            Effect.sync(() => client.info?.client_id),
            (id) => id !== undefined && id !== before && isConnected()
          )
          yield* Effect.promise(() => client.flush())
        })
        // The key is changed here first, then there.
        yield* Effect.promise(() => writeFile(file("seed"), next.seed))
        yield* configure(users(next.publicKey))
        yield* reconnected
        // Gone, or half written: the last that was good.
        yield* Effect.promise(() => writeFile(file("seed"), next.seed.slice(0, 20)))
        yield* reconnected
        yield* Effect.promise(() => rm(file("seed")))
        yield* reconnected
        expect(said()).not.toContain(next.seed.slice(4, -4))
      })
    )
  )

  it.live("a creds file: JWT and seed under an operator, refused when signed by a stranger", () =>
    listening((said) =>
      Effect.gen(function* () {
        const { config, good, stranger } = makeOperator()
        const servers = yield* natsConfigured(config)
        const file = yield* files({
          good: good.text.trim(),
          stranger: stranger.text,
          half: good.text.slice(0, 400)
        })
        yield* connects({ servers, credsFile: file("good") })
        expect(yield* refused({ servers, credsFile: file("stranger") })).toContain(
          "refuses these credentials"
        )
        expect(yield* refused({ servers, credsFile: file("half") })).toContain(
          "does not hold NATS credentials"
        )
        expect(said()).not.toContain(good.seed)
      })
    )
  )

  it.live("two kinds at once are refused before anything is sent", () =>
    Effect.gen(function* () {
      const options = { servers: "127.0.0.1:1", user: "ebb", token: Redacted.make("t") }
      expect(yield* refused(options)).toContain("give one kind of credentials, not user and token")
    })
  )

  it.live("a server that refuses for a while what it took before is waited for, and says so once", () =>
    listening((said) =>
      Effect.gen(function* () {
        const users = (password: string) =>
          `${jetStream}\nauthorization { users: [{ user: ebb, password: ${password} }] }`
        const { address, configure } = yield* startConfigured(users("first"))
        const password = Redacted.make("first")
        const connection = yield* connects({ servers: address, user: "ebb", password })
        yield* configure(users("second"))
        yield* until(Effect.sync(said), (text) => text.includes("refuses these credentials"))
        const refusals = () => said().match(/refuses these credentials/g)?.length
        yield* Effect.sleep(2_000)
        expect(refusals()).toBe(1)
        expect(connection.isConnected()).toBe(false)
        yield* configure(users("first"))
        yield* until(Effect.sync(connection.isConnected), (is) => is)
        expect(refusals()).toBe(1)
      })
    )
  )
})

describe("TLS", () => {
  const authority = makeAuthority("Ebb test")
  const stranger = makeAuthority("A stranger")

  const tlsServer = Effect.fnUntraced(function* (host: string, verify: boolean) {
    const server = authority.issue(host)
    const client = authority.issue("node.example")
    const foreign = stranger.issue("node.example")
    const file = yield* files({
      "ca.pem": authority.certificate,
      "server.pem": server.certificate,
      "server.key": server.key,
      "client.pem": client.certificate,
      "client.key": client.key,
      "foreign.pem": foreign.certificate,
      "foreign.key": foreign.key,
      "stranger.pem": stranger.certificate,
      "junk.pem": "-----BEGIN CERTIFICATE-----\njunk\n-----END CERTIFICATE-----\n"
    })
    const pem = (name: string) => JSON.stringify(file(name))
    const address = yield* natsConfigured(
      `${jetStream}\ntls { cert_file: ${pem("server.pem")}, key_file: ${pem("server.key")}, ca_file: ${pem("ca.pem")}, verify: ${verify}, timeout: 5 }`
    )
    return { address, servers: `tls://${address}`, file }
  })

  it.live("a server is used whose authority is trusted and whose name is right, and no other", () =>
    Effect.gen(function* () {
      const { address, file, servers } = yield* tlsServer("127.0.0.1", false)
      const { client } = yield* connects({ servers, tls: { caFile: file("ca.pem") } })
      expect(client.info?.tls_required).toBe(true)
      // Without tls:// as well: the server wants it.
      yield* connects({ servers: address, tls: { caFile: file("ca.pem") } })
      for (const options of [
        { servers },
        { servers: address },
        { servers, tls: { caFile: file("stranger.pem") } }
      ]) {
        expect(yield* refused(options)).toContain(
          "signed by nobody trusted here; give its authority as the CA file"
        )
      }
      const other = yield* tlsServer("nats.example", false)
      expect(yield* refused({ servers: other.servers, tls: { caFile: other.file("ca.pem") } })).toContain(
        "its certificate is for another name"
      )
    })
  )

  it.live("a server without TLS gets no credentials from who asks for TLS", () =>
    Effect.gen(function* () {
      const address = yield* natsConfigured(`${jetStream}\nauthorization { token: right-token }`)
      const token = Redacted.make("right-token")
      for (const options of [{ servers: `tls://${address}` }, { servers: address, tls: {} }]) {
        expect(yield* refused({ ...options, token })).toContain("it offers no TLS, and TLS is asked for")
      }
    })
  )

  it.live("a server that wants to know its clients knows them by their certificates", () =>
    Effect.gen(function* () {
      const { file, servers } = yield* tlsServer("127.0.0.1", true)
      const tls = (name: string) => ({
        caFile: file("ca.pem"),
        certFile: file(`${name}.pem`),
        keyFile: file(`${name}.key`)
      })
      yield* connects({ servers, tls: tls("client") })
      const unknown = [{ caFile: file("ca.pem") }, tls("foreign")].map((tls) =>
        Effect.flip(connects({ servers, tls }))
      )
      for (const error of yield* Effect.all(unknown, { concurrency: "unbounded" })) {
        expect(error._tag).toBe("NatsUnavailable")
        expect(error.message).toContain("Does it want a client certificate, or another one?")
      }
      expect(yield* refused({ servers, tls: { ...tls("client"), keyFile: undefined } })).toContain(
        "are given together"
      )
      expect(yield* refused({ servers, tls: { ...tls("client"), keyFile: file("foreign.key") } })).toContain(
        "no PEM that fits together"
      )
      expect(yield* refused({ servers, tls: { caFile: file("junk.pem") } })).toContain(file("junk.pem"))
    })
  )
})

describe("ebb-node", () => {
  const authority = makeAuthority("Ebb test")
  const user = nkeyUser()

  const secured = Effect.gen(function* () {
    const server = authority.issue("127.0.0.1")
    const file = yield* files({
      "ca.pem": authority.certificate,
      "server.pem": server.certificate,
      "server.key": server.key,
      "node.nk": user.seed
    })
    yield* Effect.promise(() => chmod(file("node.nk"), 0o600))
    const address = yield* natsConfigured(
      `${jetStream}\ntls { cert_file: ${JSON.stringify(file("server.pem"))}, key_file: ${JSON.stringify(file("server.key"))} }\n` +
        `authorization { users: [{ nkey: ${user.publicKey} }] }`
    )
    return { file, address }
  })

  it.live("is told by flags or variables where its nkey and its authority are, and says no secret", () =>
    Effect.gen(function* () {
      const { address, file } = yield* secured
      const dataDir = join(yield* temporaryFolder, "data")
      const options = { nodeId: "a", cluster: "test", nats: `tls://${address}`, dataDir }
      const args = ebbNodeArgs({
        ...options,
        args: ["--nats-nkey", file("node.nk"), "--nats-ca", file("ca.pem")]
      })
      const node = yield* startProgram(process.execPath, args)
      yield* node.says(/serves \(incarnation/)
      const shown = yield* Effect.promise(() => readFile(`/proc/${node.pid}/cmdline`, "utf8"))
      expect(shown + node.lines.join()).not.toContain(user.seed)
      yield* node.signal("SIGTERM")
      expect((yield* node.exited).code).toBe(0)

      const again = yield* startProgram(process.execPath, ebbNodeArgs({ ...options, nodeId: "b" }), {
        env: { EBB_NATS_NKEY: file("node.nk"), EBB_NATS_CA: file("ca.pem") }
      })
      yield* again.says(/serves \(incarnation/)
      yield* again.signal("SIGTERM")
      expect((yield* again.exited).code).toBe(0)
    })
  )

  it.live("ends at once and says why when it is refused, however long it may wait for NATS", () =>
    Effect.gen(function* () {
      const { address, file } = yield* secured
      const dataDir = join(yield* temporaryFolder, "data")
      const args = ebbNodeArgs({ nodeId: "a", cluster: "test", nats: address, dataDir })
      const run = Effect.fnUntraced(function* (env: Readonly<Record<string, string>>) {
        const node = yield* startProgram(process.execPath, args, { env: { ...env, EBB_NATS_WAIT: "60" } })
        expect((yield* node.exited).code).toBe(1)
        return yield* node.says(/^ebb-node:/)
      })
      expect(yield* run({ EBB_NATS_CA: file("ca.pem"), EBB_NATS_TOKEN: "no-token" })).toContain(
        "refuses these credentials"
      )
      expect(yield* run({ EBB_NATS_NKEY: file("node.nk") })).toContain("give its authority as the CA file")
      expect(yield* run({ EBB_NATS_NKEY: file("nowhere.nk") })).toContain("cannot be read (ENOENT)")
    })
  )

  it.live("embedded, it takes the same as options", () =>
    Effect.gen(function* () {
      const { address, file } = yield* secured
      const node = yield* startMediaNode({
        cluster: "test",
        nodeId: "embedded",
        nats: { servers: `tls://${address}`, nkeyFile: file("node.nk"), tls: { caFile: file("ca.pem") } },
        dataDir: join(yield* temporaryFolder, "data"),
        media: { workers: 1 }
      })
      expect((yield* node.report).life).toBe("Serving")
    })
  )
})
