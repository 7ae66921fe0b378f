/** docs/control-api.md is true: its bytes are the wire's, and nothing that a client may send or get is missing. */
import { codecOf, maxFrameBytes, pack, unpack } from "@ebb/actors"
import { ControlError, ControlProtocol } from "@ebb/media/protocol"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import { assert, describe, expect, it } from "@effect/vitest"
import { errorRows, examples, page, section } from "./controlPage.ts"
import { goodRequests } from "./goodRequests.ts"

interface Answer {
  readonly ok?: unknown
  readonly error?: Readonly<Record<string, unknown>>
}

const commands = [...ControlProtocol.requests]

const valueOf = (exit: Exit.Exit<unknown, unknown>): unknown =>
  Exit.isSuccess(exit) ? exit.value : assert.fail(String(exit.cause))

/** Names of fields, at any depth; `_tag` is told for all errors at once. */
const fieldsOf = (ast: SchemaAST.AST): ReadonlyArray<string> => {
  if (SchemaAST.isObjects(ast)) {
    return ast.propertySignatures.flatMap(({ name, type }) => [String(name), ...fieldsOf(type)])
  }
  if (SchemaAST.isArrays(ast)) return [...ast.elements, ...ast.rest].flatMap(fieldsOf)
  if (SchemaAST.isUnion(ast)) return ast.types.flatMap(fieldsOf)
  return []
}

/** Words that a field may hold. */
const literalsOf = (ast: SchemaAST.AST): ReadonlyArray<string> => {
  if (SchemaAST.isLiteral(ast)) return [String(ast.literal)]
  if (SchemaAST.isObjects(ast)) return ast.propertySignatures.flatMap(({ type }) => literalsOf(type))
  if (SchemaAST.isUnion(ast)) return ast.types.flatMap(literalsOf)
  return []
}

const errors = ControlError.members.map((member) => {
  const [of] = [Schema.toEncoded(member).ast]
  return { tag: member.identifier, fields: fieldsOf(of).filter((name) => name !== "_tag") }
})

describe("docs/control-api.md", () => {
  it("has an example of each command, request and answer", () => {
    for (const part of ["request", "answer"] as const) {
      const shown = new Set(examples.filter((example) => example.part === part).map(({ command }) => command))
      expect([...shown].toSorted()).toEqual(commands.map(([tag]) => tag).toSorted())
    }
  })

  it.each(examples)("shows a true $part of $command, which the real schemas read as it says", (example) => {
    const { bytes, command, json, part } = example
    const codec = codecOf(ControlProtocol, command)
    assert.isDefined(codec)
    expect(valueOf(unpack(bytes))).toEqual(json)
    // As it is written here, so it is on the wire.
    expect(Buffer.from(pack(json)).toString("hex")).toBe(Buffer.from(bytes).toString("hex"))
    const answer = (part === "request" ? example.answer : json) as Answer
    if (part === "request") {
      const decoded = codec.decodePayload(codec.takesNothing ? undefined : json)
      const problem = Option.map(Exit.findErrorOption(decoded), (error) => error.problem)
      if (answer.error?.["_tag"] === "MalformedMessage") {
        return expect(Option.getOrUndefined(problem)).toBe(answer.error["problem"])
      }
      return expect(valueOf(codec.encodePayload(valueOf(decoded))) ?? {}).toEqual(json)
    }
    if (answer.error === undefined) {
      const value = valueOf(codec.decodeSuccess(codec.givesNothing ? undefined : answer.ok))
      expect(valueOf(codec.encodeSuccess(value)) ?? {}).toEqual(answer.ok)
      return
    }
    const error = valueOf(codec.decodeError(answer.error)) as typeof ControlError.Type
    expect({
      ...(valueOf(codec.encodeError(error)) as object),
      message: error.message,
      retry: error.retry
    }).toEqual(answer.error)
  })

  it.each(commands.map(([tag, rpc]) => ({ tag, rpc })))(
    "names every field and every word of $tag in its section",
    ({ rpc, tag }) => {
      const text = section(tag)
      const fields = [...fieldsOf(rpc.payloadSchema.ast), ...fieldsOf(rpc.successSchema.ast)]
      // As itself, or as part of another: `deadlines.drainMs`.
      expect(fields.filter((name) => !new RegExp(`\`(\\w+\\.)?${name}\``).test(text))).toEqual([])
      expect(literalsOf(rpc.payloadSchema.ast).filter((word) => !text.includes(`\`"${word}"\``))).toEqual([])
    }
  )

  it("has no section for a command that there is not", () => {
    const told = [...page.matchAll(/^### `(.+)`$/gm)].map(([, tag = ""]) => tag)
    expect(told.toSorted()).toEqual(commands.map(([tag]) => tag).toSorted())
  })

  it.effect("names every error with its fields, and says truly whether it may be sent again", () =>
    Effect.gen(function* () {
      expect(errorRows.map(({ tag }) => tag).toSorted()).toEqual(errors.map(({ tag }) => tag).toSorted())
      for (const { fields, tag } of errorRows) {
        assert.sameMembers(fields, [...(errors.find((error) => error.tag === tag)?.fields ?? [])], tag)
      }
      // Each says it of itself: some of each class.
      const some = yield* Arbitrary.sampleEffect(Arbitrary.schema(ControlError), { count: 1000, seed: 1 })
      const retries = new Map<string, string>(some.map(({ _tag, retry }) => [_tag, retry]))
      expect(new Map(errorRows.map(({ retry, tag }) => [tag, retry]))).toEqual(retries)
    })
  )

  it("tells the limits that hold", () => {
    expect(maxFrameBytes).toBe(1024 * 1024)
    expect(page).toContain(
      "at most 32 maps and arrays in each other, at most 65,536 elements in one, 1 MiB in all"
    )
  })

  it("is what the tests' own good requests follow", () => {
    for (const [command, request] of Object.entries(goodRequests)) {
      const codec = codecOf(ControlProtocol, command)
      assert.isDefined(codec)
      if (!codec.takesNothing) valueOf(codec.decodePayload(request))
    }
  })
})
