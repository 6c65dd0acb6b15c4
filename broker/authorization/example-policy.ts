/** The commented policy.yaml that `fleetgate up` writes at its first start. It is in force as it stands. */
export const examplePolicy = `# Which topics a scope gives. docs/policy.md has every key; 'fleetgate policy check FILE' checks a change,
# and 'fleetgate policy explain' says why something is allowed or refused. What no rule names is refused.
version: 1

scopes:
  # What a device reports. {client_id} is the id of the client the token was issued to.
  telemetry.write:
    publish:
      - devices/{client_id}/telemetry/#
      - { topic: devices/{client_id}/state, max_qos: 1, retain: true, max_payload_bytes: 4096 }

  # What a device is told.
  commands.read:
    subscribe: [ devices/{client_id}/commands/# ]

  # A service that tells devices what to do.
  commands.write:
    publish: [ devices/+/commands/# ]

  # A dashboard. With 'broader: filter' it may subscribe to '#' and receives only what the rule matches.
  fleet.observe:
    subscribe:
      - { topic: devices/+/telemetry/#, broader: filter }
      - devices/+/state

  firmware.write:
    publish: [ devices/+/firmware/# ]

# A deny wins over every rule, unless the token holds one of the scopes named.
deny:
  - publish: [ devices/+/firmware/# ]
    unless: [ firmware.write ]
`;
