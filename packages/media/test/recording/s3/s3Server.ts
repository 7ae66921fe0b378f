/**
 * An S3 server of a package that is not ours (s3rver), on a folder, and a small proxy in front of it that can be told to fail.
 *
 * s3rver does uploads in parts and knows the account. It has no checksums and no conditional writes, does not list or give up uploads, and believes
 * whatever body it gets. The proxy gives them up, lists them with `listsUploads`, and adds with `checksums` the SHA-256 that a server of today
 * checks, keeps and tells. It checks signatures, but takes another path for a bucket than the SDK signs: hence only where a test asks, with
 * `signatures`, and then without lists.
 */
import S3rver from "@20minutes/s3rver"
import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import { createHash } from "node:crypto"
import { once } from "node:events"
import * as fs from "node:fs"
import * as http from "node:http"
import type { AddressInfo } from "node:net"
import * as path from "node:path"
import { temporaryFolder } from "../fixtures.ts"

/** The only account that s3rver knows. */
const accessKey = "S3RVER"

export interface S3Request {
  readonly method: string
  /** Without the bucket; empty for the bucket itself. */
  readonly key: string
  readonly query: URLSearchParams
  readonly body: Buffer
}

/** What happens to a request: `cut` drops the connection, before or after the server has seen it; `stall` stops in the middle of the answer. */
export type Fault =
  | { readonly answer: number; readonly code: string }
  | { readonly cut: "before" | "after" }
  | { readonly stall: true }
  | { readonly corrupt: (body: Buffer) => Buffer }

export interface S3Server {
  readonly endpoint: string
  readonly bucket: string
  readonly env: Readonly<Record<string, string>>
  /** The keys of those that have begun and are neither finished nor given up, by their ids: they are paid for. */
  readonly uploads: ReadonlyMap<string, string>
  /** All that came, faults or not. */
  readonly requests: ReadonlyArray<S3Request>
  /** Asked for each request; undefined: it goes through. */
  faults: (request: S3Request) => Fault | undefined
  /** Nobody listens, until it is set back. */
  readonly setAway: (isAway: boolean) => Effect.Effect<void>
  /** The stored bytes of an object, to look at and to spoil. */
  readonly file: (key: string) => string
}

export const s3Server = Effect.fnUntraced(function* (
  options: {
    readonly checksums?: boolean
    readonly signatures?: boolean
    readonly listsUploads?: boolean
  } = {}
): Effect.fn.Return<S3Server, never, Scope> {
  const directory = yield* temporaryFolder
  const bucket = "recordings"
  const upstream = new S3rver({
    port: 0,
    address: "127.0.0.1",
    silent: true,
    directory,
    vhostBuckets: false,
    allowMismatchedSignatures: options.signatures !== true,
    configureBuckets: [{ name: bucket }]
  })
  const { port: upstreamPort } = yield* Effect.acquireRelease(
    Effect.promise(() => upstream.run()),
    () => Effect.promise(() => upstream.close())
  )
  const requests: Array<S3Request> = []
  const known = checksumsOf()
  const uploads = uploadsOf()

  const pass = async (incoming: http.IncomingMessage, body: Buffer) => {
    const outgoing = http.request({
      host: "127.0.0.1",
      port: upstreamPort,
      method: incoming.method,
      path: incoming.url,
      headers: { ...incoming.headers, connection: "close", "content-length": body.length }
    })
    outgoing.end(body)
    const [answer] = (await once(outgoing, "response")) as [http.IncomingMessage]
    return { answer, content: await bodyOf(answer) }
  }

  const serve = async (incoming: http.IncomingMessage, response: http.ServerResponse) => {
    const body = await bodyOf(incoming)
    const url = new URL(incoming.url ?? "/", "http://host")
    const [, , ...rest] = decodeURIComponent(url.pathname).split("/")
    const request: S3Request = {
      method: incoming.method ?? "",
      key: rest.join("/"),
      query: url.searchParams,
      body
    }
    requests.push(request)
    const fault = server.faults(request)
    if (fault !== undefined && "answer" in fault) return refuse(response, fault.answer, fault.code)
    if (fault !== undefined && "cut" in fault && fault.cut === "before") return incoming.socket.destroy()
    const arrived = fault !== undefined && "corrupt" in fault ? fault.corrupt(body) : body
    if (options.checksums === true && !known.isAsSent(incoming, arrived)) {
      return refuse(response, 400, "BadDigest")
    }
    const own = uploads.answer(request, options.listsUploads === true)
    if (own !== undefined) {
      response.writeHead(own.status, { "content-type": "application/xml" })
      return response.end(own.content)
    }
    const { answer, content } = await pass(incoming, arrived)
    uploads.note(request, answer, content)
    if (options.checksums === true) known.note(request, incoming, answer)
    if (fault !== undefined && "cut" in fault) return incoming.socket.destroy()
    if (fault !== undefined && "stall" in fault) {
      response.writeHead(answer.statusCode ?? 500, answer.headers)
      return response.write(content.subarray(0, content.length / 2))
    }
    response.writeHead(answer.statusCode ?? 500, answer.headers)
    response.end(request.method === "HEAD" ? undefined : content)
  }
  const refuse = (response: http.ServerResponse, status: number, code: string) => {
    response.writeHead(status, { "content-type": "application/xml" })
    response.end(errorXml(code))
  }

  const proxy = http.createServer((incoming, response) => {
    serve(incoming, response).catch(() => incoming.socket.destroy())
  })
  const listen = (port: number) =>
    Effect.callback<number>((resume) => {
      proxy.listen(port, "127.0.0.1", () => resume(Effect.succeed((proxy.address() as AddressInfo).port)))
    })
  const close = Effect.callback<void>((resume) => {
    proxy.close(() => resume(Effect.void))
    proxy.closeAllConnections()
  })
  const port = yield* Effect.acquireRelease(listen(0), () => close)
  const endpoint = `http://127.0.0.1:${port}`
  const server: S3Server = {
    endpoint,
    bucket,
    env: {
      AWS_ENDPOINT_URL_S3: endpoint,
      AWS_REGION: "us-east-1",
      AWS_ACCESS_KEY_ID: accessKey,
      AWS_SECRET_ACCESS_KEY: accessKey,
      AWS_EC2_METADATA_DISABLED: "true",
      // No file of the machine's.
      AWS_CONFIG_FILE: path.join(directory, "none"),
      AWS_SHARED_CREDENTIALS_FILE: path.join(directory, "none")
    },
    requests,
    uploads: uploads.begun,
    faults: () => undefined,
    setAway: (isAway) => (isAway ? close : Effect.asVoid(listen(port))),
    file: (key) => path.join(directory, bucket, `${key}._S3rver_object`)
  }
  return server
})

const errorXml = (code: string) =>
  `<?xml version="1.0"?><Error><Code>${code}</Code><Message>as the test wants it</Message></Error>`

/** Which uploads in parts have begun, and what s3rver does not do with them. */
const uploadsOf = () => {
  const begun = new Map<string, string>()
  const givenUp = new Set<string>()
  return {
    begun,
    /** Undefined: s3rver answers. */
    answer: ({ key, method, query }: S3Request, lists: boolean) => {
      const id = query.get("uploadId")
      if (id !== null && (givenUp.has(id) || (method === "DELETE" && !begun.has(id)))) {
        return { status: 404, content: errorXml("NoSuchUpload") }
      }
      if (method === "DELETE" && id !== null) {
        begun.delete(id)
        givenUp.add(id)
        return { status: 204, content: "" }
      }
      if (!(lists && method === "GET" && key === "" && query.has("uploads"))) return undefined
      // One on each page.
      const after = query.get("upload-id-marker") ?? ""
      const rest = [...begun].filter(([each, of]) => each > after && of.startsWith(query.get("prefix") ?? ""))
      const [first, ...more] = rest.toSorted(([a], [b]) => (a < b ? -1 : 1))
      const upload =
        first === undefined
          ? ""
          : `<Upload><Key>${first[1]}</Key><UploadId>${first[0]}</UploadId></Upload>` +
            `<NextKeyMarker>${first[1]}</NextKeyMarker><NextUploadIdMarker>${first[0]}</NextUploadIdMarker>`
      const content =
        `<?xml version="1.0"?><ListMultipartUploadsResult>${upload}` +
        `<IsTruncated>${more.length > 0}</IsTruncated></ListMultipartUploadsResult>`
      return { status: 200, content }
    },
    note: ({ key, method, query }: S3Request, answer: http.IncomingMessage, content: Buffer) => {
      if (answer.statusCode !== 200 || method !== "POST") return
      const id = query.get("uploadId")
      if (id !== null) begun.delete(id)
      const [, made] = /<UploadId>(.*)<\/UploadId>/.exec(content.toString("utf8")) ?? []
      if (query.has("uploads") && made !== undefined) begun.set(made, key)
    }
  }
}

/** The SHA-256 of bodies as they are declared, and of stored objects, by key. */
const checksumsOf = () => {
  const objects = new Map<string, string>()
  const parts = new Map<string, Map<number, string>>()
  const declared = ({ headers }: http.IncomingMessage) => headers["x-amz-checksum-sha256"]
  return {
    isAsSent: (incoming: http.IncomingMessage, body: Buffer) =>
      declared(incoming) === undefined ||
      declared(incoming) === createHash("sha256").update(body).digest("base64"),
    note: (
      { key, method, query }: S3Request,
      incoming: http.IncomingMessage,
      answer: http.IncomingMessage
    ) => {
      if (answer.statusCode !== 200) return
      const checksum = declared(incoming)
      const uploadId = query.get("uploadId")
      if (method === "PUT" && uploadId !== null && typeof checksum === "string") {
        const own = parts.get(uploadId) ?? new Map<number, string>()
        parts.set(uploadId, own.set(Number(query.get("partNumber")), checksum))
      } else if (method === "PUT" && typeof checksum === "string") objects.set(key, checksum)
      else if (method === "POST" && uploadId !== null) {
        const own = [...(parts.get(uploadId) ?? [])].toSorted(([a], [b]) => a - b)
        const hash = createHash("sha256")
        for (const [, each] of own) hash.update(Buffer.from(each, "base64"))
        objects.set(key, `${hash.digest("base64")}-${own.length}`)
      } else if (method === "HEAD") {
        const stored = objects.get(key)
        if (stored !== undefined) answer.headers["x-amz-checksum-sha256"] = stored
      }
    }
  }
}

const bodyOf = async (stream: http.IncomingMessage): Promise<Buffer> => {
  const chunks: Array<Buffer> = []
  for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** The environment of a process that uses the server, until the scope closes. `undefined` takes a variable away. */
export const withEnv = (changes: Readonly<Record<string, string | undefined>>) => {
  const set = (all: Readonly<Record<string, string | undefined>>) => {
    for (const [name, value] of Object.entries(all)) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  }
  return Effect.acquireRelease(
    Effect.sync(() => {
      const before = Object.fromEntries(Object.keys(changes).map((name) => [name, process.env[name]]))
      set(changes)
      return before
    }),
    (before) => Effect.sync(() => set(before))
  )
}

export const isStored = (server: S3Server, key: string): boolean => fs.existsSync(server.file(key))
