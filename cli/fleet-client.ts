import type { ShownCredential } from './commands/credential.ts';

/** A template as the admin API shows it; `template` as `PUT` takes it. */
export interface TemplateView {
  name: string;
  version: number;
  created_at: string;
  template: Record<string, unknown>;
}

/** A row of a job, as JSONL or CSV has it. */
export type DeviceRow = Record<string, unknown>;

export interface JobView {
  job_id: string;
  state: 'running' | 'done' | 'cancelled';
  template: string;
  template_version: number;
  source?: string;
  total: number;
  start: number;
  next_row: number;
  created: number;
  failed: number;
  created_by: string;
  created_at: string;
  updated_at: string;
}

export interface NewJob {
  template: string;
  version?: number;
  total: number;
  start?: number;
  source?: string;
}

/** What became of a row of a job. */
export interface RowResultView extends ShownCredential {
  row: number;
  outcome: 'created' | 'repeated' | 'failed';
  client_id?: string;
  auth_method?: string;
  audience?: string[];
  notice?: string;
  error?: string;
  error_description?: string;
}

/** What a row would make. */
export interface RowPreviewView {
  row: number;
  client_id?: string;
  error?: string;
  error_description?: string;
}

export interface FailureView {
  row: number;
  error: string;
  error_description: string;
}

export interface CampaignView {
  campaign_id: string;
  state: 'running' | 'paused' | 'done' | 'cancelled';
  reason?: string;
  selector: string;
  batch_size: number;
  confirm_within_seconds: number;
  pause_at: number;
  secret_lifetime_seconds?: number;
  selected: number;
  confirmed: number;
  failed: number;
  batch: number;
  /** These three not in a list. */
  batch_waiting?: number;
  batch_failed?: number;
  batch_until?: string;
  created_by: string;
  created_at: string;
  updated_at: string;
}

export interface CampaignDeviceView {
  client_id: string;
  batch: number;
  state: 'confirmed' | 'waiting' | 'failed';
  secret_id?: string;
  error?: string;
}

export interface NewCampaign {
  selector: string;
  batch_size?: number;
  confirm_within_seconds?: number;
  pause_at?: number;
  secret_lifetime_seconds?: number;
}

/** A client of a batch with its new secret. */
export interface RotatedDeviceView extends ShownCredential {
  client_id: string;
  auth_method: string;
  audience: string[];
  secret_id: string;
}

export interface EnrollmentView {
  enrollment_id: string;
  kind: 'claim_code' | 'group_key';
  state: 'open' | 'exhausted' | 'expired' | 'revoked';
  template: string;
  device: Record<string, unknown>;
  uses: number;
  max_uses?: number;
  expires_at?: string;
  approval: boolean;
  replace: boolean;
  created_by: string;
  created_at: string;
  revoked_at?: string;
}

/** What opens an enrollment, in the one answer that shows it. */
export interface EnrollmentSecret {
  claim_code?: string;
  primary_key?: string;
  secondary_key?: string;
}

export interface NewEnrollment {
  template: string;
  kind?: 'claim_code' | 'group_key';
  device?: Record<string, unknown>;
  max_uses?: number;
  /** Seconds since 1970. */
  expires_at?: number;
  approval?: boolean;
  replace?: boolean;
}

/** A device that came to an enrollment. */
export interface EnrollmentRequestView {
  request_id: string;
  enrollment_id: string;
  state: 'pending' | 'approved' | 'rejected' | 'enrolled';
  client_id: string;
  group?: string;
  labels: Record<string, string>;
  reason?: string;
  created_at: string;
  updated_at: string;
}

/** What one request of an act on a selector did. */
export interface StepView {
  changed: number;
  unchanged: number;
  next_cursor?: string;
}

export interface SelectionStep {
  selector: string;
  cursor?: string | undefined;
  limit?: number | undefined;
}

interface PageQuery {
  limit?: number | undefined;
  cursor?: string | undefined;
}

/** The part of the admin API that is about fleets. Throws what the API refuses with. */
export interface FleetClient {
  putTemplate(name: string, template: Record<string, unknown>): Promise<TemplateView>;
  listTemplates(): Promise<TemplateView[]>;
  getTemplate(name: string, version?: number): Promise<TemplateView>;
  deleteTemplate(name: string): Promise<void>;
  previewRows(
    template: string,
    rows: { rows: DeviceRow[]; first_row: number; start: number },
  ): Promise<RowPreviewView[]>;
  createJob(job: NewJob): Promise<JobView & { job_key: string }>;
  runRows(
    jobId: string,
    rows: { job_key: string; first_row: number; rows: DeviceRow[] },
  ): Promise<{ job: JobView; results: RowResultView[] }>;
  getJob(jobId: string): Promise<JobView>;
  listJobs(query: { limit?: number; cursor?: string }): Promise<{ jobs: JobView[]; next_cursor?: string }>;
  cancelJob(jobId: string): Promise<JobView>;
  listFailures(
    jobId: string,
    query: { limit?: number; cursor?: string },
  ): Promise<{ failures: FailureView[]; next_cursor?: string }>;
  createEnrollment(enrollment: NewEnrollment): Promise<EnrollmentView & EnrollmentSecret>;
  getEnrollment(enrollmentId: string): Promise<EnrollmentView>;
  listEnrollments(query: PageQuery): Promise<{ enrollments: EnrollmentView[]; next_cursor?: string }>;
  revokeEnrollment(enrollmentId: string): Promise<EnrollmentView>;
  rollGroupKey(enrollmentId: string, key: 'primary' | 'secondary'): Promise<EnrollmentSecret>;
  allowClients(enrollmentId: string, clientIds: readonly string[]): Promise<void>;
  listEnrollmentRequests(
    query: PageQuery & { state?: string | undefined; enrollment?: string | undefined },
  ): Promise<{ requests: EnrollmentRequestView[]; next_cursor?: string }>;
  approveEnrollment(requestId: string): Promise<EnrollmentRequestView>;
  rejectEnrollment(requestId: string, reason: string): Promise<EnrollmentRequestView>;
  createCampaign(campaign: NewCampaign): Promise<CampaignView & { campaign_key: string }>;
  getCampaign(campaignId: string): Promise<CampaignView>;
  listCampaignDevices(
    campaignId: string,
    query: { limit?: number; cursor?: string | undefined },
  ): Promise<{ devices: CampaignDeviceView[]; next_cursor?: string }>;
  listCampaigns(query: { limit?: number; cursor?: string }): Promise<{ campaigns: CampaignView[] }>;
  rotateBatch(
    campaignId: string,
    request: { campaign_key: string; batch: number },
  ): Promise<{ campaign: CampaignView; devices: RotatedDeviceView[] }>;
  pauseCampaign(campaignId: string, reason: string): Promise<CampaignView>;
  resumeCampaign(campaignId: string): Promise<CampaignView>;
  cancelCampaign(campaignId: string): Promise<CampaignView>;
  countClients(query: {
    selector: string;
    cursor?: string | undefined;
  }): Promise<{ count: number; next_cursor?: string }>;
  quarantineSelected(step: SelectionStep & { reason: string }): Promise<StepView>;
  releaseSelected(step: SelectionStep): Promise<StepView>;
  revokeSelected(step: SelectionStep): Promise<StepView>;
  deleteSelected(step: SelectionStep): Promise<StepView>;
}

/** @param call one request of the admin API, refused as it says */
export function fleetClient(
  call: (method: string, path: string, body?: unknown) => Promise<unknown>,
): FleetClient {
  const templatePath = (name: string) => `/v1/templates/${encodeURIComponent(name)}`;
  const enrollmentPath = (enrollmentId: string) => `/v1/enrollments/${encodeURIComponent(enrollmentId)}`;
  const requestPath = (requestId: string) => `/v1/enrollment-requests/${encodeURIComponent(requestId)}`;
  const campaignPath = (campaignId: string) => `/v1/campaigns/${encodeURIComponent(campaignId)}`;
  const jobPath = (jobId: string) => `/v1/provisioning-jobs/${encodeURIComponent(jobId)}`;
  return {
    putTemplate: async (name, template) => (await call('PUT', templatePath(name), template)) as TemplateView,
    listTemplates: async () =>
      ((await call('GET', '/v1/templates')) as { templates: TemplateView[] }).templates,
    getTemplate: async (name, version) =>
      (await call('GET', `${templatePath(name)}${queryOf({ version })}`)) as TemplateView,
    deleteTemplate: async (name) => {
      await call('DELETE', templatePath(name));
    },
    previewRows: async (template, rows) =>
      ((await call('POST', `${templatePath(template)}/preview`, rows)) as { results: RowPreviewView[] })
        .results,
    createJob: async (job) =>
      (await call('POST', '/v1/provisioning-jobs', job)) as JobView & { job_key: string },
    runRows: async (jobId, rows) =>
      (await call('POST', `${jobPath(jobId)}/rows`, rows)) as { job: JobView; results: RowResultView[] },
    getJob: async (jobId) => (await call('GET', jobPath(jobId))) as JobView,
    listJobs: async (query) =>
      (await call('GET', `/v1/provisioning-jobs${queryOf(query)}`)) as { jobs: JobView[] },
    cancelJob: async (jobId) => (await call('POST', `${jobPath(jobId)}/cancel`)) as JobView,
    listFailures: async (jobId, query) =>
      (await call('GET', `${jobPath(jobId)}/failures${queryOf(query)}`)) as { failures: FailureView[] },
    createEnrollment: async (enrollment) =>
      (await call('POST', '/v1/enrollments', enrollment)) as EnrollmentView & EnrollmentSecret,
    getEnrollment: async (enrollmentId) =>
      (await call('GET', enrollmentPath(enrollmentId))) as EnrollmentView,
    listEnrollments: async (query) =>
      (await call('GET', `/v1/enrollments${queryOf(query)}`)) as { enrollments: EnrollmentView[] },
    revokeEnrollment: async (enrollmentId) =>
      (await call('POST', `${enrollmentPath(enrollmentId)}/revoke`)) as EnrollmentView,
    rollGroupKey: async (enrollmentId, key) =>
      (await call('POST', `${enrollmentPath(enrollmentId)}/keys`, { key })) as EnrollmentSecret,
    allowClients: async (enrollmentId, clientIds) => {
      await call('POST', `${enrollmentPath(enrollmentId)}/allow`, { client_ids: clientIds });
    },
    listEnrollmentRequests: async (query) =>
      (await call('GET', `/v1/enrollment-requests${queryOf({ ...query })}`)) as {
        requests: EnrollmentRequestView[];
      },
    approveEnrollment: async (requestId) =>
      (await call('POST', `${requestPath(requestId)}/approve`)) as EnrollmentRequestView,
    rejectEnrollment: async (requestId, reason) =>
      (await call('POST', `${requestPath(requestId)}/reject`, { reason })) as EnrollmentRequestView,
    createCampaign: async (campaign) =>
      (await call('POST', '/v1/campaigns', campaign)) as CampaignView & { campaign_key: string },
    getCampaign: async (campaignId) => (await call('GET', campaignPath(campaignId))) as CampaignView,
    listCampaigns: async (query) =>
      (await call('GET', `/v1/campaigns${queryOf(query)}`)) as { campaigns: CampaignView[] },
    listCampaignDevices: async (campaignId, query) =>
      (await call('GET', `${campaignPath(campaignId)}/devices${queryOf(query)}`)) as {
        devices: CampaignDeviceView[];
        next_cursor?: string;
      },
    rotateBatch: async (campaignId, request) =>
      (await call('POST', `${campaignPath(campaignId)}/batches`, request)) as {
        campaign: CampaignView;
        devices: RotatedDeviceView[];
      },
    pauseCampaign: async (campaignId, reason) =>
      (await call('POST', `${campaignPath(campaignId)}/pause`, { reason })) as CampaignView,
    resumeCampaign: async (campaignId) =>
      (await call('POST', `${campaignPath(campaignId)}/resume`)) as CampaignView,
    cancelCampaign: async (campaignId) =>
      (await call('POST', `${campaignPath(campaignId)}/cancel`)) as CampaignView,
    countClients: async (query) =>
      (await call('GET', `/v1/fleet/count${queryOf(query)}`)) as { count: number },
    quarantineSelected: async (step) => (await call('POST', '/v1/fleet/quarantine', step)) as StepView,
    releaseSelected: async (step) => (await call('POST', '/v1/fleet/release', step)) as StepView,
    revokeSelected: async (step) => (await call('POST', '/v1/fleet/revoke', step)) as StepView,
    deleteSelected: async (step) => (await call('POST', '/v1/fleet/delete', step)) as StepView,
  };
}

function queryOf(query: object): string {
  const text = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) text.set(name, String(value));
  }
  return text.size === 0 ? '' : `?${text}`;
}
