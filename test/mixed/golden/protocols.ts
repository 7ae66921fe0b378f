/** Every protocol with its samples, as rows: what each message asks, answers and fails with. */
import type { AnyMessage, MessageCodec, Protocol } from "@ebb/actors"
import * as Effect from "effect/Effect"
import type { Build } from "./Build.ts"
import { after, isLater, type Plain, type Row, rowsOf, type Sample } from "./Golden.ts"
import {
  control,
  deployer,
  errors,
  type MessageSamples,
  newErrors,
  node,
  type ProtocolSamples,
  recording,
  room,
  system
} from "./messages.ts"
import { packed, unpacked } from "./packed.ts"

export interface GoldenProtocol {
  /** As its sources name it, and its fixture. */
  readonly name: string
  readonly of: (build: Build) => Protocol<AnyMessage>
  readonly samples: ProtocolSamples
}

const any = (of: (build: Build) => unknown) => of as GoldenProtocol["of"]

export const protocols: ReadonlyArray<GoldenProtocol> = [
  { name: "SystemProtocol", of: any(({ actors }) => actors.SystemProtocol), samples: system },
  { name: "NodeProtocol", of: any(({ media }) => media.NodeProtocol), samples: node },
  { name: "RoomProtocol", of: any(({ media }) => media.RoomProtocol), samples: room },
  { name: "RecordingProtocol", of: any(({ media }) => media.RecordingProtocol), samples: recording },
  { name: "ControlProtocol", of: any(({ media }) => media.ControlProtocol), samples: control },
  { name: "DeployerProtocol", of: any((build) => build.deployer.DeployerProtocol), samples: deployer }
]

type Part = "Payload" | "Success" | "Error"

/** One part of one message, written and read as a frame's content is. */
const through = (protocol: GoldenProtocol, tag: string, part: Part, plain: Plain) => {
  const codecIn = (build: Build): MessageCodec | undefined => build.actors.codecOf(protocol.of(build), tag)
  return {
    encode: (build: Build) => {
      const codec = codecIn(build)
      if (codec === undefined) return Effect.undefined
      return Effect.map(
        Effect.flatMap(codec[`decode${part}`](plain), (value) => codec[`encode${part}`](value)),
        packed
      )
    },
    decode: (build: Build, bytes: Uint8Array) => {
      const codec = codecIn(build)
      return codec === undefined
        ? Effect.undefined
        : Effect.flatMap(unpacked(bytes), (value) => codec[`decode${part}`](value))
    },
    write: packed,
    isClosed: part === "Payload",
    openMaps: ["parameters"]
  }
}

/** Of requests and answers. */
export const messageRows: ReadonlyArray<Row> = protocols.flatMap((protocol) =>
  Object.entries(protocol.samples).flatMap(([tag, { request = [], success = [] }]) => {
    const rows = (samples: ReadonlyArray<Sample>, part: Part, name: string) =>
      rowsOf(samples, (plain) => ({
        fixture: protocol.name,
        name: `${tag} ${name}`,
        ...through(protocol, tag, part, plain)
      }))
    return [...rows(request, "Payload", "request"), ...rows(success, "Success", "answer")]
  })
)

interface SchemaOfErrors {
  readonly identifier?: string
  readonly members?: ReadonlyArray<SchemaOfErrors>
}
const tagsOf = ({ identifier, members }: SchemaOfErrors): ReadonlyArray<string> =>
  members?.flatMap(tagsOf) ?? (identifier === undefined ? [] : [identifier])

/** What a message's contract lets it fail with. */
export const errorsOf = (build: Build, protocol: GoldenProtocol, tag: string): ReadonlyArray<string> => {
  const message: unknown = protocol.of(build).requests.get(tag)
  return [...new Set(tagsOf((message as { readonly errorSchema: SchemaOfErrors }).errorSchema))]
}

/** The release that did not have it yet; undefined when all have. */
const newSince = ({ request = [], success = [] }: MessageSamples): Pick<Row, "after"> => {
  const [first, ...more] = [...request, ...success].map((sample) =>
    isLater(sample) ? sample.after : undefined
  )
  return first !== undefined && more.every((each) => each !== undefined) ? { after: first } : {}
}

/** Every error of every message that this build knows. One fixture: an error has the same bytes whatever it answers. */
export const errorRows = (build: Build): ReadonlyArray<Row> =>
  protocols.flatMap((protocol) =>
    Object.entries(protocol.samples).flatMap(([message, samples]) =>
      errorsOf(build, protocol, message).flatMap((error) =>
        rowsOf(
          (errors[error] ?? []).map((sample): Sample => {
            const of = (fields: Plain): Plain => ({ _tag: error, ...(fields as object) })
            return isLater(sample) ? after(sample.after, of(sample.value)) : of(sample)
          }),
          (plain) => ({ fixture: "errors", name: error, ...through(protocol, message, "Error", plain) })
        ).map((row) => ({
          ...row,
          ...newSince(samples),
          ...(newErrors.has(error) ? { after: "0.1.0", isNewKind: true } : {})
        }))
      )
    )
  )
