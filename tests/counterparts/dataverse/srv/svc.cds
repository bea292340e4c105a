using mkt from '../db/schema';

@path: '/api/data/v9.2'
service Dataverse {
  entity leads    as projection on mkt.Leads;
  entity contacts as projection on mkt.Contacts;
}
