// Azurite, Microsoft's own emulator of Azure Storage, with tables only and in memory.
//
//     node azurite.mjs FOLDER        (FOLDER holds node_modules/azurite)
//
// Listens on a free port of 127.0.0.1, prints `ready PORT`, ends when its standard input closes. The account is
// devstoreaccount1 with the key that every emulator has.
import { spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { join } from 'node:path'

const folder = process.argv[2]

// Azurite takes port 0 and does not tell which one it got, so a free one is looked for first.
const port = await new Promise((resolve, reject) => {
  const probe = createServer().on('error', reject).listen(0, '127.0.0.1', () => {
    const { port } = probe.address()
    probe.close(() => resolve(port))
  })
})
const options = ['--inMemoryPersistence', '--tableHost', '127.0.0.1', '--tablePort', String(port), '--skipApiVersionCheck', '--disableTelemetry']
const emulator = spawn(join(folder, 'node_modules/.bin/azurite-table'), options, { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] })
createInterface({ input: emulator.stdout }).on('line', line => {
  if (line.includes('successfully started')) console.log('ready ' + port)
})
emulator.on('exit', code => process.exit(code ?? 1))
process.stdin.on('end', () => { emulator.kill(); process.exit(0) }).resume()
