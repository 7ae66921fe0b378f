/**
 * By what a process proves to NATS who it is, and by what it knows the server: options and files, as the client wants them.
 *
 * Files are looked at once at the start, so that a mistake is told by its name, and read again for each connection: a file that was
 * replaced is used by the next one, and one that has become unreadable ends nothing. Secrets go to the client and nowhere else.
 */
import { X509Certificate } from "node:crypto"
import { readFileSync } from "node:fs"
import { checkServerIdentity, createSecureContext, type PeerCertificate } from "node:tls"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import { type Authenticator, type ConnectionOptions, credsAuthenticator, nkeyAuthenticator } from "nats"

export interface NatsTls {
  /** PEM of whom to trust for the server's certificate. Default: whom Node trusts. */
  readonly caFile?: string | undefined
  /** PEM of this client's certificate, for servers that want one; with `keyFile`. */
  readonly certFile?: string | undefined
  readonly keyFile?: string | undefined
}

/** At most one of the four kinds of credentials. */
export interface NatsSecurity {
  readonly user?: string | undefined
  readonly password?: Redacted.Redacted<string> | undefined
  readonly token?: Redacted.Redacted<string> | undefined
  /** A file with an nkey seed, `SU…`. */
  readonly nkeyFile?: string | undefined
  /** A file with a JWT and its seed, as `nsc` makes it. */
  readonly credsFile?: string | undefined
  /** Given, even empty, it demands TLS, as a server `tls://…` does. Without it TLS is used where the server offers it. */
  readonly tls?: NatsTls | undefined
}

type Parts = Pick<ConnectionOptions, "user" | "pass" | "token" | "authenticator" | "tls">

/** Fails with what is wrong. */
export const natsSecurity = Effect.fnUntraced(function* (
  options: NatsSecurity,
  servers: ReadonlyArray<string>
): Effect.fn.Return<Parts, string> {
  const { credsFile, nkeyFile, password, tls, token, user } = options
  const kinds = Object.entries({ user, token, nkeyFile, credsFile }).flatMap(([kind, given]) =>
    given === undefined ? [] : [kind]
  )
  if (kinds.length > 1) return yield* Effect.fail(`give one kind of credentials, not ${kinds.join(" and ")}`)
  return {
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { pass: Redacted.value(password) }),
    ...(token === undefined ? {} : { token: Redacted.value(token) }),
    ...(nkeyFile === undefined
      ? {}
      : { authenticator: yield* fromFile(nkeyFile, "an nkey seed (SU…)", byNkey) }),
    ...(credsFile === undefined
      ? {}
      : { authenticator: yield* fromFile(credsFile, "NATS credentials", byCreds) }),
    ...(tls === undefined && !servers.some((server) => server.startsWith("tls://"))
      ? {}
      : { tls: yield* checkedTls(tls ?? {}, servers) })
  }
})

const contentOf = (file: string): string => readFileSync(file, "utf8").trim()

const read = (file: string): Effect.Effect<string, string> =>
  Effect.try({
    try: () => contentOf(file),
    catch: (cause) => `${file} cannot be read (${codeOf(cause)})`
  })

const byNkey = (content: string) => nkeyAuthenticator(Buffer.from(content))
// The client looks for the end of the last line.
const byCreds = (content: string) => credsAuthenticator(Buffer.from(`${content}\n`))

const fromFile = Effect.fnUntraced(function* (
  file: string,
  what: string,
  authenticatorOf: (content: string) => Authenticator
): Effect.fn.Return<Authenticator, string> {
  let good = yield* read(file)
  yield* Effect.try({
    try: () => authenticatorOf(good)("nonce"),
    // What the client says of it may quote it.
    catch: () => `${file} does not hold ${what}`
  })
  return (nonce) => {
    // A throw would end the client for good.
    try {
      const content = contentOf(file)
      const answer = authenticatorOf(content)(nonce)
      good = content
      return answer
    } catch {
      return authenticatorOf(good)(nonce)
    }
  }
})

const checkedTls = Effect.fnUntraced(function* (
  tls: NatsTls,
  servers: ReadonlyArray<string>
): Effect.fn.Return<NonNullable<ConnectionOptions["tls"]>, string> {
  const { caFile, certFile, keyFile } = tls
  if ((certFile === undefined) !== (keyFile === undefined)) {
    return yield* Effect.fail("a client certificate and its key are given together, or not at all")
  }
  const content = (file: string | undefined) => (file === undefined ? Effect.undefined : read(file))
  const [ca, cert, key] = yield* Effect.all([content(caFile), content(certFile), content(keyFile)])
  yield* Effect.try({
    try: () => {
      // A context passes over what is no certificate among its authorities.
      if (ca !== undefined) new X509Certificate(ca)
      createSecureContext({ ca, cert, key })
    },
    catch: (cause) =>
      `${[caFile, certFile, keyFile].filter((file) => file !== undefined).join(", ")}: no PEM that fits together (${codeOf(cause)})`
  })
  // The client hands Node's own options through, and its types do not say so.
  const identity = { checkServerIdentity: identityOf(servers.map(hostOf)) }
  return {
    ...(caFile === undefined ? {} : { caFile }),
    ...(certFile === undefined ? {} : { certFile }),
    ...(keyFile === undefined ? {} : { keyFile }),
    ...identity
  }
})

const hostOf = (server: string): string =>
  server
    .replace(/^([a-z]+:\/\/)?([^@/]*@)?/, "")
    .replace(/:\d+$/, "")
    .replace(/^\[|\]$/g, "")

/** Where the client has dialled an address it tells Node no name, and Node takes `localhost`: then one of the given hosts is meant. */
const identityOf = (hosts: ReadonlyArray<string>) => (name: string, certificate: PeerCertificate) => {
  const errors = (name === "localhost" ? hosts : [name]).map((host) => checkServerIdentity(host, certificate))
  return errors.includes(undefined) ? undefined : errors[0]
}

const codeOf = (cause: unknown): string => (Predicate.hasProperty(cause, "code") ? String(cause.code) : "")

/** What the server or the handshake says, in its `code`, that another try cannot change; undefined for what may pass. */
export const refusal = (cause: unknown): string | undefined => {
  const code = codeOf(cause)
  switch (code) {
    case "AUTHORIZATION_VIOLATION":
    case "BAD_AUTHENTICATION":
    case "AUTHENTICATION_EXPIRED":
    case "ACCOUNT_EXPIRED":
      return "it refuses these credentials; check user and password, token, nkey or creds file, and that the server knows them"
    case "SERVER_OPT_NA":
      return "it offers no TLS, and TLS is asked for; give it a certificate, or leave out tls and tls://"
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return "its certificate is for another name; use the name that the certificate has"
    case "CERT_HAS_EXPIRED":
      return "its certificate has expired"
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
    case "SELF_SIGNED_CERT_IN_CHAIN":
    case "UNABLE_TO_GET_ISSUER_CERT":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
      return "its certificate is signed by nobody trusted here; give its authority as the CA file"
  }
  return undefined
}
