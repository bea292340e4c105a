namespace mkt;

@assert.unique: { ext: [externalid] }
entity Leads {
  key leadid     : UUID;
  subject        : String(300) @mandatory;
  firstname      : String(50);
  lastname       : String(50);
  emailaddress1  : String(100);
  telephone1     : String(50);
  companyname    : String(100);
  description    : LargeString;
  leadsourcecode : Integer @picklist: [{ value: 1, label: 'Advertisement' }, { value: 8, label: 'Web' }];
  revenue        : Double;
  donotemail     : Boolean;
  createdon      : DateTime;
  externalid     : String(100);
}

entity Contacts {
  key contactid : UUID;
  lastname      : String(50) @mandatory;
  emailaddress1 : String(100);
}
