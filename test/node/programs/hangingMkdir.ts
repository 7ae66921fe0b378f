/**
 * Loaded into a program before it starts: from then on every mkdir of it hangs in the kernel, as on a mount whose server is gone. A
 * thread opens a FIFO that nobody writes to.
 */
import * as fs from "node:fs"
import { syncBuiltinESMExports } from "node:module"

Object.assign(fs.promises, { mkdir: () => fs.promises.open(process.env["EBB_TEST_FIFO"] ?? "") })
syncBuiltinESMExports()
