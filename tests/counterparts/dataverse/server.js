// Dataverse's Web API on SAP CAP, a real OData v4 server: parsing, types, $filter and paging are CAP's. The thin skin
// here is what Dataverse does differently: a bearer token, answers without a body unless Prefer asks for one,
// OData-EntityId, alternate keys, conditional PATCH, duplicate detection by mail address, its error bodies, WhoAmI and
// the table definitions.
//
// Listens on a free port of 127.0.0.1, prints `ready PORT`, ends when its standard input closes. TOKEN: the bearer token.
const cds = require('@sap/cds')
const express = require('express')
const { randomUUID } = require('crypto')

const ALTERNATE = { leads: ['externalid', 'leadid'] }
const KEYS = { leads: 'leadid', contacts: 'contactid' }
const CODES = { 400: '0x80048d19', 401: '0x80072560', 404: '0x80040217', 412: '0x80060892' }
const BASE = '/api/data/v9.2'

const app = express()
const { listen } = app
app.listen = (port, ...rest) => listen.call(app, port, '127.0.0.1', ...rest)
cds.on('listening', ({ server }) => console.log('ready ' + server.address().port))
process.stdin.on('end', () => process.exit(0)).resume()

const stored = set => 'mkt.' + set[0].toUpperCase() + set.slice(1)

app.use('/api/data', async (request, response, next) => {
  const refuse = (status, message, code = CODES[status]) =>
    response.status(status).set('OData-Version', '4.0').json({ error: { code, message } })
  if (process.env.TOKEN && request.headers.authorization !== 'Bearer ' + process.env.TOKEN) {
    response.set('WWW-Authenticate', 'Bearer')
    return refuse(401, 'Unauthorized')
  }
  const path = decodeURIComponent(request.path)
  if (path === '/v9.2/WhoAmI') return response.json({ '@odata.context': BASE + '/$metadata#Microsoft.Dynamics.CRM.WhoAmIResponse', UserId: randomUUID() })
  if (path.startsWith('/v9.2/EntityDefinitions')) return definitions(path, response, refuse)
  if (!KEYS[path.match(/^\/v9\.2\/(\w+)/)?.[1]]) return refuse(404, "Resource not found for the segment.", '0x80060888')
  const prefer = request.headers.prefer ?? ''
  const wantsRecord = /return=representation/.test(prefer)
  const writes = /POST|PATCH|PUT/.test(request.method)
  if (writes && !wantsRecord) request.headers.prefer = 'return=minimal'
  const [, set, key] = path.match(/^\/v9\.2\/(\w+)\((.*)\)$/) ?? []
  if (set && (await addressed(request, set, key, refuse))) return
  shape(request, response, wantsRecord, writes)
  next()
})

// Finds the record that the URL names, keeps the conditions, and turns alternate keys into ids. Whether it answered.
async function addressed(request, set, key, refuse) {
  const id = KEYS[set]
  const [, field, value] = key.match(/^(\w+)='(.*)'$/s) ?? []
  const where = field ? { [field]: value.replaceAll("''", "'") } : { [id]: key }
  if (field && ALTERNATE[set]?.[0] !== field) return refuse(400, `The specified key ${field} is not a key of ${set}`, '0x80060888')
  const hit = await cds.run(SELECT.one.from(stored(set)).columns(id).where(where))
  const conditions = { none: request.headers['if-none-match'] === '*', match: request.headers['if-match'] === '*' }
  delete request.headers['if-none-match']
  delete request.headers['if-match']
  if (request.method === 'PATCH') {
    if (hit && conditions.none) return refuse(412, 'A record with matching key values already exists.', '')
    if (!hit && conditions.match) return refuse(404, `${set} With Id Does Not Exist`)
    if (!hit && request.headers['mscrm.suppressduplicatedetection'] === 'false' && (await resembles(request, set)))
      return refuse(500, 'A record was not created or updated because a duplicate of the current record already exists.', '0x80040333')
  } else if (!hit) return refuse(404, `${set} With Id Does Not Exist`)
  request.url = `/v9.2/${set}(${hit ? hit[id] : field ? randomUUID() : key})`
  request.isNew = !hit
}

async function resembles(request, set) {
  const body = await new Promise((resolve, reject) => express.json()(request, {}, error => (error ? reject(error) : resolve(request.body))))
  if (!body?.emailaddress1) return false
  return Boolean(await cds.run(SELECT.one.from(stored(set)).where({ emailaddress1: body.emailaddress1 })))
}

// Answers as Dataverse gives them: 201 for a new record and 200 for a changed one if the record is wanted, else 204.
function shape(request, response, wantsRecord, writes) {
  const own = `http://${request.headers.host}${BASE}/`
  const { writeHead, json } = response
  response.writeHead = function (status, ...rest) {
    if (writes && status < 300) {
      const key = response.getHeader('location') || request.url.split('/v9.2/')[1]
      response.removeHeader('location')
      if (!wantsRecord && /\(/.test(key)) response.setHeader('OData-EntityId', own + key.replace(/^.*\//, ''))
      if (wantsRecord) status = response.statusCode = request.isNew || request.method === 'POST' ? 201 : 200
    }
    return writeHead.call(this, status, ...rest)
  }
  response.json = function (body) {
    if (body?.error) {
      const unique = /UNIQUE/i.test(body.error.code + body.error.message)
      if (unique) response.status(412)
      body = { error: { code: CODES[response.statusCode] ?? '0x80040216', message: body.error.message } }
    }
    return json.call(this, body)
  }
}

const TYPES = { 'cds.String': 'String', 'cds.LargeString': 'Memo', 'cds.Integer': 'Integer', 'cds.Double': 'Double', 'cds.Boolean': 'Boolean', 'cds.DateTime': 'DateTime', 'cds.UUID': 'Uniqueidentifier' }

function definitions(path, response, refuse) {
  const tables = Object.keys(KEYS).map(set => ({ LogicalName: set.replace(/s$/, ''), EntitySetName: set, PrimaryIdAttribute: KEYS[set] }))
  const rest = path.slice('/v9.2/EntityDefinitions'.length)
  if (rest === '') return response.json({ value: tables })
  const [, name, question] = rest.match(/^\(LogicalName='(\w+)'\)\/(.*)$/) ?? []
  const table = tables.find(table => table.LogicalName === name)
  if (!table) return refuse(404, 'Could not find the entity')
  const attributes = Object.entries(cds.model.definitions[stored(table.EntitySetName)].elements).map(([LogicalName, element]) => {
    const AttributeType = element['@picklist'] ? 'Picklist' : (TYPES[element.type] ?? 'Virtual')
    return { LogicalName, AttributeType, AttributeTypeName: { Value: AttributeType + 'Type' }, AttributeOf: null, element,
      RequiredLevel: { Value: element['@mandatory'] ? 'ApplicationRequired' : 'None', CanBeChanged: true },
      IsValidForCreate: LogicalName !== 'createdon', IsValidForUpdate: !element.key }
  })
  const of = type => attributes.filter(attribute => attribute.AttributeType === type)
  const lengths = type => of(type).map(({ LogicalName, element }) => ({ LogicalName, MaxLength: element.length ?? 2000 }))
  const option = ({ value, label }) => ({ Value: value, Label: { UserLocalizedLabel: { Label: label, LanguageCode: 1033 } } })
  const choices = () => of('Picklist').map(({ LogicalName, element }) => ({ LogicalName, OptionSet: { Options: element['@picklist'].map(option) }, GlobalOptionSet: null }))
  const answers = {
    Attributes: () => attributes.map(({ element, ...shown }) => shown),
    'Attributes/Microsoft.Dynamics.CRM.StringAttributeMetadata': () => lengths('String'),
    'Attributes/Microsoft.Dynamics.CRM.MemoAttributeMetadata': () => lengths('Memo'),
    'Attributes/Microsoft.Dynamics.CRM.PicklistAttributeMetadata': choices,
    ManyToOneRelationships: () => (name === 'lead' ? [{ ReferencingAttribute: 'companyname', ReferencingEntityNavigationPropertyName: 'parentaccountid' }] : []),
  }
  const answer = answers[question]
  return answer ? response.json({ value: answer() }) : refuse(404, 'Resource not found for the segment.', '0x80060888')
}

module.exports = options => cds.server({ ...options, app, port: 0 })
