"""Salesforce's REST API on simple-mockforce: a virtual org with SOQL and upsert by external id, behind real HTTP.

    python salesforce.py            (needs simple-mockforce==0.8.1 simple-salesforce==1.12.10)

The library patches Python's own HTTP client, so this front asks it for each request, and gives its answers the
statuses and bodies that Salesforce gives: 201 for a create, errors as lists, an upsert that says whether it created,
duplicate rules by Email, unique fields that end in Unique__c, descriptions of objects, limits.

Listens on a free port of 127.0.0.1, prints `ready PORT`, ends when its standard input closes. TOKEN: the bearer token.
"""

import json
import os
import sys
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote

warnings.filterwarnings("ignore")
import requests  # noqa: E402
from simple_mockforce import mock_salesforce  # noqa: E402

ORG = "https://mock.salesforce.com"
TEXT = {"type": "string", "nillable": True, "defaultedOnCreate": False, "createable": True, "updateable": True,
        "length": 80, "picklistValues": [], "restrictedPicklist": False}
VALUES = [{"active": True, "label": label, "value": label} for label in ("Hot", "Warm", "Cold")]
LEAD = [
    {**TEXT, "name": "Id", "type": "id", "length": 18, "nillable": False, "createable": False, "updateable": False},
    {**TEXT, "name": "LastName", "nillable": False},
    {**TEXT, "name": "Company", "length": 255, "nillable": False},
    {**TEXT, "name": "FirstName", "length": 40},
    {**TEXT, "name": "Email", "type": "email"},
    {**TEXT, "name": "Rating", "type": "picklist", "restrictedPicklist": True, "picklistValues": VALUES},
    {**TEXT, "name": "AnnualRevenue", "type": "currency", "length": 0},
    {**TEXT, "name": "Leadflow_Key__c", "length": 64, "externalId": True},
    {**TEXT, "name": "IsConverted", "type": "boolean", "length": 0, "nillable": False, "defaultedOnCreate": True},
]
lock = threading.Lock()


class Org(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=None):
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        if data:
            self.send_header("Content-Type", "application/json;charset=UTF-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def refuse(self, status, code, message, **more):
        self.answer(status, [{"message": message, "errorCode": code, **more}])

    def handle_request(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if os.environ.get("TOKEN") and self.headers.get("Authorization") != "Bearer " + os.environ["TOKEN"]:
            return self.refuse(401, "INVALID_SESSION_ID", "Session expired or invalid")
        path, _, query = self.path.partition("?")
        words = [unquote(word) for word in path.strip("/").split("/")][3:]
        try:
            fields = json.loads(body) if body else {}
        except ValueError:
            return self.refuse(400, "JSON_PARSER_ERROR", "Unexpected character")
        with lock:
            return self.route(path, query, words, fields)

    def route(self, path, query, words, fields):
        match (self.command, words):
            case ("GET", ["limits"]):
                self.answer(200, {"DailyApiRequests": {"Max": 15000, "Remaining": 14998}})
            case ("GET", ["sobjects"]):
                self.answer(200, {"encoding": "UTF-8", "sobjects": [{"name": "Account"}, {"name": "Lead"}]})
            case ("GET", ["sobjects", "Lead", "describe"]):
                self.answer(200, {"name": "Lead", "fields": LEAD})
            case (_, ["sobjects", name, *_]) if name != "Lead":
                self.refuse(404, "NOT_FOUND", "The requested resource does not exist")
            case ("POST", ["sobjects", name]):
                if not self.is_refused(fields):
                    self.answer(201, self.ask("POST", path + "/", fields).json())
            case ("PATCH", ["sobjects", name, field, value]):
                self.upsert(path, field, fields)
            case ("PATCH", ["sobjects", name, record]):
                if self.ask("GET", path).status_code != 200:
                    self.refuse(404, "NOT_FOUND", "Provided external ID field does not exist or is not accessible")
                else:
                    self.ask("PATCH", path, fields)
                    self.answer(204)
            case ("GET", ["query"]):
                self.answer(200, self.found(f"{path}/?{query}"))
            case ("GET", _):
                found = self.ask("GET", path)
                if found.status_code != 200:
                    self.refuse(404, "NOT_FOUND", "The requested resource does not exist")
                else:
                    self.answer(200, found.json())
            case _:
                self.refuse(405, "METHOD_NOT_ALLOWED", "HTTP Method not allowed")

    def is_refused(self, fields):
        """What Salesforce would check before it makes a lead."""
        missing = [name for name in ("LastName", "Company") if not fields.get(name)]
        if missing:
            self.refuse(400, "REQUIRED_FIELD_MISSING", f"Required fields are missing: {missing}", fields=missing)
            return True
        if str(fields.get("Email", "")).startswith("twin-"):
            soql = quote(f"SELECT Id FROM Lead WHERE Email = '{fields['Email']}'")
            records = self.found(f"/services/data/v62.0/query/?q={soql}")["records"]
            if records:
                match = {"record": {"attributes": {"type": "Lead"}, "Id": records[0]["Id"]}, "matchConfidence": 100.0}
                results = [{"entityType": "Lead", "matchRecords": [match], "size": 1, "success": True}]
                self.refuse(400, "DUPLICATES_DETECTED", "Use one of these records?",
                            duplicateResult={"allowSave": False, "matchResults": results})
                return True
        return False

    def upsert(self, path, field, fields):
        had = self.ask("GET", path).status_code == 200
        if not had and self.is_refused(fields):
            return
        self.ask("PATCH", path, fields)
        made = self.ask("GET", path).json()
        self.answer(200 if had else 201, {"id": made["Id"], "success": True, "errors": [], "created": not had})

    def found(self, path):
        """What a query finds: nothing in an object that the library has not met yet."""
        answer = self.ask("GET", path)
        return answer.json() if answer.status_code == 200 else {"totalSize": 0, "done": True, "records": []}

    @staticmethod
    def ask(method, path, fields=None):
        try:
            return requests.request(method, ORG + path, json=fields)
        except requests.exceptions.ChunkedEncodingError:  # the library gives its 204 a body
            empty = requests.models.Response()
            empty.status_code, empty._content = 204, b""
        except Exception:  # it raises where Salesforce has a status
            empty = requests.models.Response()
            empty.status_code, empty._content = 404, b"[]"
        return empty

    do_GET = do_POST = do_PATCH = do_DELETE = handle_request


def end_with_the_caller():
    sys.stdin.read()
    os._exit(0)


@mock_salesforce
def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Org)
    print("ready", server.server_address[1], flush=True)
    server.serve_forever()


threading.Thread(target=end_with_the_caller, daemon=True).start()
main()
