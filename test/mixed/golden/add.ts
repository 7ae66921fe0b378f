// Adds to `fixtures` the bytes of the rows that have none yet: `node test/mixed/golden/add.ts`. Changes and removes nothing: of what was
// written once, other versions hold copies.
import * as Effect from "effect/Effect"
import { existsSync, writeFileSync } from "node:fs"
import process from "node:process"
import { thisBuild } from "./Build.ts"
import { fixtureFile, readFixture, shown } from "./Golden.ts"
import { allRows } from "./rows.ts"

const build = await Effect.runPromise(thisBuild)
const fixtures = new Map<string, Record<string, string>>()
const added: Array<string> = []
const refused: Array<string> = []
for (const row of allRows(build)) {
  const { fixture, name } = row
  const of = fixtures.get(fixture) ?? (existsSync(fixtureFile(fixture)) ? readFixture(fixture) : {})
  fixtures.set(fixture, of)
  const bytes = await Effect.runPromise(row.encode(build))
  if (bytes === undefined) throw new Error(`${fixture}: ${name} is not of this build`)
  const golden = shown(bytes, row)
  if (of[name] === undefined) added.push(`${fixture}: ${name}`)
  else if (of[name] !== golden) refused.push(`${fixture}: ${name}`)
  of[name] ??= golden
}
if (refused.length > 0) {
  process.stderr.write(
    `these have other bytes by now, which no other version could read:\n${refused.join("\n")}\n`
  )
  process.exit(1)
}
for (const [fixture, of] of fixtures) writeFileSync(fixtureFile(fixture), `${JSON.stringify(of, null, 2)}\n`)
process.stdout.write(added.length === 0 ? "nothing to add\n" : `${added.join("\n")}\n`)
