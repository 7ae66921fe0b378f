/**
 * The door to an S3-compatible store, and the only import of the AWS SDK: requests as Effects, with typed errors that say what to do.
 * Endpoint, region and credentials are found by the SDK where it always looks: environment, shared files, the machine's role.
 *
 * A request is tried five times by the SDK, with its backoff; whoever can wait longer tries `StoreUnreachable` again. No error holds a secret.
 */
import type * as S3 from "@aws-sdk/client-s3"
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  UploadPartCommand
} from "@aws-sdk/client-s3"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { RecordingStorageError, StoreRefused, StoreUnreachable } from "../../MediaError.ts"
import type { S3Location } from "./S3Location.ts"

export type DoorError = RecordingStorageError | StoreRefused | StoreUnreachable

/** Keys are whole: with the location's prefix. */
export interface S3Door {
  /** `s3://bucket/key`. */
  readonly url: (key: string) => string
  readonly checkBucket: Effect.Effect<void, DoorError>
  /** Replaces what is there. With the SHA-256 of `body`, in base64, which a server that knows it checks. */
  readonly put: (
    key: string,
    body: Uint8Array,
    about: { readonly sha256: string; readonly type: string }
  ) => Effect.Effect<void, DoorError>
  /** Undefined: it is not there. `checksum`: SHA-256 as the server has it, with `-<parts>` for one of parts; absent where it has none. */
  readonly head: (
    key: string
  ) => Effect.Effect<{ readonly bytes: number; readonly checksum?: string } | undefined, DoorError>
  /** Reads an object to its end. Undefined: it is not there. */
  readonly read: <A>(
    key: string,
    consume: (chunks: AsyncIterable<Uint8Array>) => Promise<A>
  ) => Effect.Effect<A | undefined, DoorError>
  /** One level below a prefix, whole keys: objects, and prefixes that end with `/`. */
  readonly list: (
    prefix: string
  ) => Effect.Effect<
    { readonly keys: ReadonlyArray<string>; readonly prefixes: ReadonlyArray<string> },
    DoorError
  >
  /** Removing what is not there is no error. */
  readonly remove: (key: string) => Effect.Effect<void, DoorError>
  readonly beginUpload: (key: string, type: string) => Effect.Effect<string, DoorError>
  readonly uploadPart: (
    key: string,
    uploadId: string,
    part: { readonly number: number; readonly body: Uint8Array; readonly sha256: string }
  ) => Effect.Effect<{ readonly etag: string }, DoorError>
  readonly completeUpload: (
    key: string,
    uploadId: string,
    parts: ReadonlyArray<{ readonly number: number; readonly etag: string; readonly sha256: string }>
  ) => Effect.Effect<void, DoorError>
  readonly abortUpload: (key: string, uploadId: string) => Effect.Effect<void, DoorError>
  /** Those of keys with a prefix that have begun and are not finished. Not every server tells, and it takes a right of its own. */
  readonly listUploads: (prefix: string) => Effect.Effect<ReadonlyArray<BegunUpload>, DoorError>
}

export interface BegunUpload {
  readonly key: string
  readonly uploadId: string
}

/** An upload that the server does not know any more, or parts of it. */
export const isUploadGone = (error: DoorError): boolean =>
  error._tag === "RecordingStorageError" && /^(NoSuchUpload|InvalidPart|InvalidPartOrder)$/.test(error.code)

/**
 * Buckets are parts of the path, not of the host's name, for a server whose endpoint the environment names, unless EBB_S3_PATH_STYLE says `0`:
 * other servers seldom have a name for each bucket.
 */
const pathStyle = (env: NodeJS.ProcessEnv): boolean =>
  env["EBB_S3_PATH_STYLE"] === undefined
    ? Boolean(env["AWS_ENDPOINT_URL_S3"] || env["AWS_ENDPOINT_URL"])
    : env["EBB_S3_PATH_STYLE"] === "1"

export const openS3Door = (
  location: S3Location,
  silenceMs: number
): Effect.Effect<S3Door, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(
        () =>
          new S3Client({
            forcePathStyle: pathStyle(process.env),
            maxAttempts: 5,
            // SHA-256 is sent with each body; what the SDK would add by itself, many servers do not understand.
            requestChecksumCalculation: "WHEN_REQUIRED",
            responseChecksumValidation: "WHEN_REQUIRED",
            requestHandler: {
              connectionTimeout: 5000,
              requestTimeout: silenceMs,
              throwOnRequestTimeout: true,
              // That one ends with the head of the answer; its body may stop, too.
              socketTimeout: silenceMs
            }
          })
      ),
      (client) => Effect.sync(() => client.destroy())
    ),
    (client) => makeDoor(client, location)
  )

const makeDoor = (client: S3Client, { bucket, prefix }: S3Location): S3Door => {
  const Bucket = bucket
  const url = (key: string) => `s3://${bucket}/${key}`
  const location = `s3://${bucket}/${prefix}`
  const attempt = <A>(operation: string, key: string, run: (abortSignal: AbortSignal) => Promise<A>) =>
    Effect.tryPromise({ try: run, catch: (cause) => errorOf(location, operation, url(key), cause) })
  const absent = (error: DoorError) => error._tag === "RecordingStorageError" && error.code === "NoSuchKey"
  const orAbsent = <A>(effect: Effect.Effect<A, DoorError>) =>
    Effect.catchIf(effect, absent, () => Effect.succeed(undefined))

  const listFrom = (
    Prefix: string,
    ContinuationToken: string | undefined
  ): Effect.Effect<S3.ListObjectsV2CommandOutput, DoorError> =>
    attempt("list", Prefix, (abortSignal) =>
      client.send(
        new ListObjectsV2Command({
          Bucket,
          Prefix,
          Delimiter: "/",
          ...(ContinuationToken === undefined ? {} : { ContinuationToken })
        }),
        { abortSignal }
      )
    )

  return {
    url,
    // Not a HEAD: its answer could not say why it was refused.
    checkBucket: Effect.asVoid(
      attempt("list", prefix, (abortSignal) =>
        client.send(new ListObjectsV2Command({ Bucket, Prefix: prefix, MaxKeys: 1 }), { abortSignal })
      )
    ),
    put: (Key, Body, { sha256: ChecksumSHA256, type: ContentType }) =>
      Effect.asVoid(
        attempt("write", Key, (abortSignal) =>
          client.send(new PutObjectCommand({ Bucket, Key, Body, ChecksumSHA256, ContentType }), {
            abortSignal
          })
        )
      ),
    head: (Key) =>
      attempt("look at", Key, (abortSignal) =>
        client.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: "ENABLED" }), { abortSignal })
      ).pipe(
        Effect.map(({ ChecksumSHA256, ContentLength }) => ({
          bytes: ContentLength ?? 0,
          ...(ChecksumSHA256 === undefined ? {} : { checksum: ChecksumSHA256 })
        })),
        orAbsent
      ),
    read: (Key, consume) =>
      orAbsent(
        attempt("read", Key, async (abortSignal) => {
          const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }), { abortSignal })
          return consume(chunksOf(Body))
        })
      ),
    list: Effect.fnUntraced(function* (Prefix) {
      const keys: Array<string> = []
      const prefixes: Array<string> = []
      let token: string | undefined
      do {
        const page: S3.ListObjectsV2CommandOutput = yield* listFrom(Prefix, token)
        keys.push(...(page.Contents ?? []).flatMap(({ Key }) => (Key === undefined ? [] : [Key])))
        prefixes.push(
          ...(page.CommonPrefixes ?? []).flatMap((each) => (each.Prefix === undefined ? [] : [each.Prefix]))
        )
        token = page.IsTruncated === true ? page.NextContinuationToken : undefined
      } while (token !== undefined)
      return { keys, prefixes }
    }),
    remove: (Key) =>
      Effect.asVoid(
        orAbsent(
          attempt("remove", Key, (abortSignal) =>
            client.send(new DeleteObjectCommand({ Bucket, Key }), { abortSignal })
          )
        )
      ),
    beginUpload: (Key, ContentType) =>
      attempt("begin to write", Key, async (abortSignal) => {
        const begin = { Bucket, Key, ContentType, ChecksumAlgorithm: "SHA256" } as const
        const { UploadId } = await client.send(new CreateMultipartUploadCommand(begin), { abortSignal })
        if (UploadId === undefined) throw new Error("the server gave no id for the upload")
        return UploadId
      }),
    uploadPart: (Key, UploadId, { body: Body, number: PartNumber, sha256: ChecksumSHA256 }) =>
      attempt(`write part ${PartNumber} of`, Key, async (abortSignal) => {
        const part = { Bucket, Key, UploadId, PartNumber, Body, ChecksumSHA256 }
        const { ETag } = await client.send(new UploadPartCommand(part), { abortSignal })
        if (ETag === undefined) throw new Error("the server gave no ETag for the part")
        return { etag: ETag }
      }),
    completeUpload: (Key, UploadId, parts) =>
      Effect.asVoid(
        attempt("finish", Key, (abortSignal) =>
          client.send(
            new CompleteMultipartUploadCommand({
              Bucket,
              Key,
              UploadId,
              MultipartUpload: {
                Parts: parts.map(({ etag, number, sha256 }) => ({
                  PartNumber: number,
                  ETag: etag,
                  ChecksumSHA256: sha256
                }))
              }
            }),
            { abortSignal }
          )
        )
      ),
    abortUpload: (Key, UploadId) =>
      Effect.asVoid(
        attempt("give up", Key, (abortSignal) =>
          client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }), { abortSignal })
        )
      ),
    listUploads: (Prefix) =>
      attempt("list the uploads of", Prefix, async (abortSignal) => {
        const begun: Array<BegunUpload> = []
        let from: Pick<S3.ListMultipartUploadsCommandInput, "KeyMarker" | "UploadIdMarker"> | undefined = {}
        while (from !== undefined) {
          const command = new ListMultipartUploadsCommand({ Bucket, Prefix, ...from })
          const page: S3.ListMultipartUploadsCommandOutput = await client.send(command, { abortSignal })
          for (const { Key, UploadId } of page.Uploads ?? []) {
            if (Key !== undefined && UploadId !== undefined) begun.push({ key: Key, uploadId: UploadId })
          }
          const { IsTruncated, NextKeyMarker: KeyMarker, NextUploadIdMarker: UploadIdMarker } = page
          from = IsTruncated === true && KeyMarker !== undefined ? { KeyMarker, UploadIdMarker } : undefined
        }
        return begun
      })
  }
}

/** In Node a body is a readable stream. */
const chunksOf = (body: unknown): AsyncIterable<Uint8Array> => {
  if (typeof body === "object" && body !== null && Symbol.asyncIterator in body) {
    return body as AsyncIterable<Uint8Array>
  }
  throw new Error("the server gave no body")
}

interface Answer {
  readonly name: string
  readonly message: string
  /** Undefined: there was no answer. */
  readonly status: number | undefined
}

const answerOf = (cause: unknown): Answer => {
  if (!(cause instanceof Error)) return { name: "Unknown", message: String(cause), status: undefined }
  const metadata = "$metadata" in cause ? cause.$metadata : undefined
  const status =
    typeof metadata === "object" &&
    metadata !== null &&
    "httpStatusCode" in metadata &&
    typeof metadata.httpStatusCode === "number"
      ? metadata.httpStatusCode
      : undefined
  return { name: cause.name, message: cause.message, status }
}

const rights =
  "s3:ListBucket, s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload and s3:ListBucketMultipartUploads"

/** By the name of the error that the server or the SDK gives: what it is, and what a person does about it. */
const refusals: ReadonlyArray<readonly [names: RegExp, problem: string, advice: string]> = [
  [
    /^(CredentialsProviderError|NoCredentials|InvalidIdentityToken)$/,
    "noCredentials",
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the machine a role"
  ],
  [
    /^(InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|InvalidToken|TokenRefreshRequired|InvalidClientTokenId|401|Unauthorized)$/,
    "credentialsRefused",
    "look at AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or the profile that AWS_PROFILE names"
  ],
  [/^(AccessDenied|AllAccessDisabled|403|Forbidden)$/, "accessDenied", `its user needs ${rights}`],
  [/^(NoSuchBucket)$/, "bucketMissing", "make the bucket, or name another one with --store"],
  [
    /^(PermanentRedirect|301|AuthorizationHeaderMalformed|IllegalLocationConstraintException|RegionMissing)$/,
    "wrongRegion",
    "set AWS_REGION to the bucket's region (any name will do for a server that has none)"
  ],
  [/^(RequestTimeTooSkewed)$/, "clockSkewed", "set this machine's clock"]
]

/** The store is busy, or what arrived is not what was sent: sent again, it may be. */
const notArrived =
  /^(SlowDown|RequestTimeout|IncompleteBody|BadDigest|InvalidDigest|XAmzContentSHA256Mismatch|XAmzContentChecksumMismatch)$/

const errorOf = (location: string, operation: string, url: string, cause: unknown): DoorError => {
  const answer = answerOf(cause)
  const name = nameOf(answer)
  const detail = `${name}: ${answer.message} (${operation} ${url})`
  const refusal = refusals.find(([names]) => names.test(name))
  if (refusal !== undefined) {
    return new StoreRefused({ location, problem: refusal[1], detail, advice: refusal[2] })
  }
  const { status } = answer
  const isBusy = status !== undefined && (status >= 500 || status === 429 || status === 408)
  if (isBusy || status === undefined || notArrived.test(name))
    return new StoreUnreachable({ location, detail })
  return new RecordingStorageError({ operation, path: url, code: name, detail: answer.message })
}

/** The answer to a HEAD has no body, so the SDK knows no name for it; some of its own errors have none but `Error`. */
const nameOf = ({ message, name, status }: Answer): string => {
  if (message === "Region is missing") return "RegionMissing"
  if (name === "NotFound") return "NoSuchKey"
  if (name !== "Unknown" && name !== "UnknownError" && name !== "Error") return name
  return status === undefined ? name : status === 404 ? "NoSuchKey" : String(status)
}
