// A second mail server, of another make: smtp-server of Nodemailer, with STARTTLS or TLS and AUTH.
//
//     node smtp_server.mjs MODULES DIR starttls|tls|plain       (MODULES holds node_modules/smtp-server)
//
// Prints `ready PORT` once it listens on a free port of 127.0.0.1, and ends when its standard input is closed.
// It keeps mails and refuses recipients as smtp_sink.py does, with the same certificate and the same login.
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

const [modules, folder, mode] = process.argv.slice(2)
const { SMTPServer } = createRequire(join(modules, 'here.js'))('smtp-server')
const SLOW_MS = 60_000

mkdirSync(folder, { recursive: true })
const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost',
  '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', key, '-out', cert], { stdio: 'ignore' })

const refusal = (responseCode, text) => Object.assign(new Error(text), { responseCode })
let count = 0
let wasBusy = false

function keep(content, session) {
  const recipients = session.envelope.rcptTo.map(({ address }) => address)
  const refused = !wasBusy && recipients.some(address => address.startsWith('busy-once@'))
  wasBusy ||= refused
  count += 1
  const number = String(count).padStart(4, '0')
  const path = join(folder, `${number}.${refused ? 'refused' : 'eml'}`)
  const lines = { From: session.envelope.mailFrom.address, To: recipients.join(','), Tls: session.secure ? 'True' : 'False', Auth: session.user || '' }
  const head = Object.entries(lines).map(([name, value]) => `X-Envelope-${name}: ${value}\r\n`).join('')
  writeFileSync(`${path}.tmp`, Buffer.concat([Buffer.from(head), content]))
  renameSync(`${path}.tmp`, path)
  return refused ? [refusal(451, '4.3.0 try again later')] : [null, `2.0.0 queued as ${number}`]
}

const server = new SMTPServer({
  name: 'localhost', size: 10_000_000, disableReverseLookup: true, key: readFileSync(key), cert: readFileSync(cert),
  secure: mode === 'tls', authMethods: ['PLAIN', 'LOGIN'], authOptional: mode === 'plain',
  disabledCommands: mode === 'plain' ? ['STARTTLS', 'AUTH'] : [],
  onAuth({ username, password }, session, done) {
    if (username === 'lead' && password === 'secret') return done(null, { user: username })
    done(refusal(535, '5.7.8 authentication failed'))
  },
  onRcptTo({ address }, session, done) {
    const kind = address.split('@')[0]
    if (kind === 'reject-perm') return done(refusal(550, `5.1.1 <${address}>: no such user`))
    if (kind === 'reject-temp') return done(refusal(451, '4.3.0 try again later'))
    setTimeout(done, kind === 'slow' ? SLOW_MS : 0)
  },
  onData(stream, session, done) {
    const parts = []
    stream.on('data', part => parts.push(part)).on('end', () => done(...keep(Buffer.concat(parts), session)))
  },
})
// A client that does not trust the certificate ends the connection.
server.on('error', error => console.error(error.message))
server.listen(0, '127.0.0.1', () => console.log('ready', server.server.address().port))
process.stdin.resume().on('end', () => process.exit(0))
