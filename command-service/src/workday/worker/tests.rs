//! Recorded shapes: v34 as a security vendor's tests hold it, v25 as a PowerShell module's do, and what the schemas of v30 and v42 say.

use domain::{connection::Login, money::PayPeriod};

use super::*;
use crate::workday::soap::document;

fn account() -> Workday {
    Workday {
        tenant: "acme_dpt1".into(),
        base_url: "https://wd2.example".into(),
        version: Workday::VERSION.into(),
        login: Login::Password { user: "ISU".into() },
        department: Workday::DEPARTMENT.into(),
        division: Workday::DIVISION.into(),
    }
}

fn date(text: &str) -> Date {
    text.parse().expect("a day")
}

#[track_caller]
fn worker(data: &str, on: &str) -> Worker {
    let xml = format!(
        "<wd:Worker xmlns:wd=\"urn:com.workday/bsvc\"><wd:Worker_Reference><wd:ID wd:type=\"WID\">5aa443c785ff10461a8ed12bc81bdc86</wd:ID>\
         <wd:ID wd:type=\"Employee_ID\">123456</wd:ID></wd:Worker_Reference><wd:Worker_Data><wd:Worker_ID>123456</wd:Worker_ID>{data}</wd:Worker_Data></wd:Worker>"
    );
    let read = document(&xml).expect("XML");
    super::read(read.root_element(), date(on), &account()).expect("an employee")
}

fn reference(name: &str, kind: &str, id: &str) -> String {
    format!("<wd:{name}><wd:ID wd:type=\"WID\">10e9</wd:ID><wd:ID wd:type=\"{kind}\">{id}</wd:ID></wd:{name}>")
}

fn status(content: &str) -> String {
    format!("<wd:Employment_Data><wd:Worker_Status_Data>{content}</wd:Worker_Status_Data></wd:Employment_Data>")
}

#[test]
fn somebody_who_came_back_is_at_work_whatever_is_left_of_the_first_time() {
    let rehired = status(
        "<wd:Active>1</wd:Active><wd:Active_Status_Date>2020-03-25</wd:Active_Status_Date><wd:Hire_Date>2020-03-25</wd:Hire_Date>\
         <wd:Original_Hire_Date>2011-05-01</wd:Original_Hire_Date><wd:Terminated>0</wd:Terminated><wd:Regrettable_Termination>1</wd:Regrettable_Termination>\
         <wd:Resignation_Date>2018-06-14</wd:Resignation_Date><wd:Rehire>1</wd:Rehire>",
    );
    let worker = worker(&rehired, "2026-01-01");
    assert_eq!(worker.hired_on, Some(date("2011-05-01")));
    let working = Part {
        value: Some(Standing::Working),
        since: Some(date("2020-03-25")),
    };
    assert_eq!(worker.state.standing, working);
    assert!(worker.warnings.is_empty());
}

#[test]
fn the_day_after_the_last_is_the_first_one_away() {
    let ended = |last_day: &str, active: u8| {
        let reasons = reference(
            "Primary_Termination_Reason_Reference",
            "Event_Classification_Subcategory_ID",
            "Terminate_Employee_Voluntary_Commute_Time",
        ) + &*reference(
            "Primary_Termination_Category_Reference",
            "Termination_Category_ID",
            "Terminate_Employee_Voluntary",
        );
        status(&format!(
            "<wd:Active>{active}</wd:Active><wd:Hire_Date>2011-05-01-07:00</wd:Hire_Date><wd:Terminated>1</wd:Terminated>\
             <wd:Termination_Date>{last_day}-08:00</wd:Termination_Date>{reasons}"
        ))
    };
    let left = worker(&ended("2020-11-13", 0), "2026-01-01").state.standing;
    let how = Ended::new(
        Voluntariness::Voluntary,
        Some("Terminate Employee Voluntary Commute Time".into()),
    );
    assert_eq!(
        left,
        Part {
            value: Some(Standing::Ended(how)),
            since: Some(date("2020-11-14"))
        }
    );
    // On the last day itself, and before.
    let there = worker(&ended("2026-01-01", 1), "2026-01-01").state.standing;
    assert_eq!(there.value, Some(Standing::Working));
    let involuntary = status(
        "<wd:Active>0</wd:Active><wd:Terminated>true</wd:Terminated><wd:Termination_Involuntary>1</wd:Termination_Involuntary>",
    );
    let Some(Standing::Ended(how)) = worker(&involuntary, "2026-01-01").state.standing.value else {
        panic!("not ended")
    };
    assert_eq!(how.voluntariness, Voluntariness::Involuntary);
    let rescinded = status(
        "<wd:Active>0</wd:Active><wd:Hire_Date>2026-01-01</wd:Hire_Date><wd:Hire_Rescinded>1</wd:Hire_Rescinded>",
    );
    assert_eq!(
        worker(&rescinded, "2026-01-01").state.standing.value,
        Some(Standing::Deleted)
    );
    let ahead =
        status("<wd:Active>0</wd:Active><wd:Hire_Date>2027-01-01</wd:Hire_Date><wd:Terminated>0</wd:Terminated>");
    assert_eq!(worker(&ahead, "2026-01-01").state.standing, Part::default());
}

#[test]
fn a_leave_has_its_first_day_and_so_has_the_return() {
    let leave = |content: &str| {
        status(&format!(
            "<wd:Active>1</wd:Active><wd:Hire_Date>2011-05-01</wd:Hire_Date><wd:Leave_Status_Data>{content}</wd:Leave_Status_Data>"
        ))
    };
    let away = leave(
        "<wd:On_Leave>1</wd:On_Leave><wd:Leave_Start_Date>2021-02-01</wd:Leave_Start_Date><wd:Leave_Last_Day_of_Work>2021-01-31</wd:Leave_Last_Day_of_Work>",
    );
    assert_eq!(
        worker(&away, "2021-03-01").state.standing,
        Part {
            value: Some(Standing::OnLeave),
            since: Some(date("2021-02-01"))
        }
    );
    let back = leave(
        "<wd:On_Leave>0</wd:On_Leave><wd:Leave_Start_Date>2021-02-01</wd:Leave_Start_Date><wd:First_Day_Of_Work>2021-09-01</wd:First_Day_Of_Work>",
    );
    assert_eq!(
        worker(&back, "2021-10-01").state.standing,
        Part {
            value: Some(Standing::Working),
            since: Some(date("2021-09-01"))
        }
    );
}

#[test]
fn a_position_has_its_day_and_organisations_have_none() {
    let shown = "<wd:Employment_Data><wd:Worker_Job_Data wd:Primary_Job=\"0\"><wd:Position_Data wd:Effective_Date=\"2021-01-01\">\
         <wd:Business_Title>Mentor</wd:Business_Title></wd:Position_Data></wd:Worker_Job_Data>\
         <wd:Worker_Job_Data wd:Primary_Job=\"1\"><wd:Position_Data wd:Effective_Date=\"2020-03-25\"><wd:Position_ID>POS-114061</wd:Position_ID>\
         <wd:Position_Title>Regional Sales Manager</wd:Position_Title><wd:Business_Title>Sales Manager</wd:Business_Title>\
         <wd:Start_Date>2018-03-25</wd:Start_Date><wd:Scheduled_Weekly_Hours>37.5</wd:Scheduled_Weekly_Hours>\
         <wd:Job_Profile_Summary_Data><wd:Job_Profile_Name>Sales Manager III</wd:Job_Profile_Name></wd:Job_Profile_Summary_Data>\
         <wd:Business_Site_Summary_Data><wd:Name>Turin</wd:Name></wd:Business_Site_Summary_Data></wd:Position_Data></wd:Worker_Job_Data></wd:Employment_Data>";
    let organisation = |kind: &str, name: &str| {
        let of_type = reference("Organization_Type_Reference", "Organization_Type_ID", kind);
        format!(
            "<wd:Worker_Organization_Data><wd:Organization_Data><wd:Organization_Name>{name}</wd:Organization_Name>{of_type}\
             </wd:Organization_Data></wd:Worker_Organization_Data>"
        )
    };
    let organisations = [
        organisation("Supervisory", "Marketing"),
        organisation("COST_CENTER", "4711"),
    ]
    .concat();
    let all = worker(
        &format!("{shown}<wd:Organization_Data>{organisations}</wd:Organization_Data>"),
        "2026-01-01",
    );
    let position = Position {
        title: Some("Sales Manager".into()),
        location: Some("Turin".into()),
    };
    let since = Some(date("2020-03-25"));
    assert_eq!(
        all.state.position,
        Part {
            value: Some(position),
            since
        }
    );
    let organisation = Organisation {
        department: Some("Marketing".into()),
        division: None,
    };
    assert_eq!(
        all.state.organisation,
        Part {
            value: Some(organisation),
            since: None
        }
    );
    assert_eq!(all.state.hours.value, Some(WeeklyMinutes(2_250)));
    assert_eq!(all.other["COST_CENTER"], "4711");
    // Where organisations may not be seen, nobody has been taken out of one.
    assert_eq!(worker(shown, "2026-01-01").state.organisation, Part::default());
}

#[test]
fn the_manager_is_the_nearest_who_is_somebody_else() {
    let level = |manager: &str| {
        format!(
            "<wd:Management_Chain_Data>{}</wd:Management_Chain_Data>",
            reference("Manager_Reference", "Employee_ID", manager)
        )
    };
    let chain = |levels: &str| {
        format!(
            "<wd:Management_Chain_Data><wd:Worker_Supervisory_Management_Chain_Data>{levels}</wd:Worker_Supervisory_Management_Chain_Data></wd:Management_Chain_Data>"
        )
    };
    let manager = |data: &str| worker(data, "2026-01-01").state.manager.value;
    let levels = [level("100100"), level("100100"), level("100600")].concat();
    assert_eq!(manager(&chain(&levels)), Some(Some("100600".into())));
    // A manager's own chain ends with the organisation that they lead; a vacant level has nobody.
    let own = [level("100600"), level("123456"), "<wd:Management_Chain_Data/>".into()].concat();
    assert_eq!(manager(&chain(&own)), Some(Some("100600".into())));
    assert_eq!(
        manager("<wd:Management_Chain_Data/>"),
        Some(None),
        "nobody is above the head"
    );
    assert_eq!(manager(""), None, "not to be seen");
    let contingent = reference("Manager_Reference", "Contingent_Worker_ID", "C-1");
    let hidden = [
        level("100600"),
        format!("<wd:Management_Chain_Data>{contingent}</wd:Management_Chain_Data>"),
    ]
    .concat();
    assert_eq!(
        manager(&chain(&hidden)),
        Some(None),
        "nobody else is the manager for that"
    );
}

#[test]
fn pay_is_exact_where_any_amount_is() {
    let summary = |name: &str, amount: &str, frequency: &str| {
        format!(
            "<wd:{name}><wd:Total_Base_Pay>{amount}</wd:Total_Base_Pay>{}{}</wd:{name}>",
            reference("Currency_Reference", "Currency_ID", "USD"),
            reference("Frequency_Reference", "Frequency_ID", frequency)
        )
    };
    let pay = |summaries: &str| {
        let reason = reference(
            "Reason_Reference",
            "Event_Classification_Subcategory_ID",
            "Request_Compensation_Change_Market_Adjustment",
        );
        let data = format!(
            "<wd:Compensation_Data><wd:Compensation_Effective_Date>2020-03-01</wd:Compensation_Effective_Date>{reason}\
             <wd:Employee_Compensation_Summary_Data>{summaries}</wd:Employee_Compensation_Summary_Data></wd:Compensation_Data>"
        );
        worker(&data, "2026-01-01")
    };
    let own = "Employee_Compensation_Summary_Data";
    let rate = |worker: &Worker| {
        worker
            .state
            .pay
            .value
            .as_ref()
            .map(|paid| (paid.rate.amount.minor_units, paid.rate.per))
    };
    let hourly = pay(&[
        summary(own, "12.019231", "Hourly"),
        summary("Annualized_Summary_Data", "25000", "Annual"),
    ]
    .concat());
    assert_eq!(rate(&hourly), Some((2_500_000, PayPeriod::Year)));
    assert_eq!(hourly.state.pay.since, Some(date("2020-03-01")));
    let reason = hourly.state.pay.value.as_ref().and_then(|paid| paid.reason.clone());
    assert_eq!(reason.as_deref(), Some("Request Compensation Change Market Adjustment"));
    let exact = pay(&[
        summary(own, "18.5", "Hourly"),
        summary("Annualized_Summary_Data", "38480", "Annual"),
    ]
    .concat());
    assert_eq!(rate(&exact), Some((1_850, PayPeriod::Hour)));
    let rounded = pay(&summary(own, "12.019231", "Hourly"));
    assert_eq!(
        (rate(&rounded), rounded.warnings.len()),
        (Some((1_202, PayPeriod::Hour)), 1)
    );
    let unknown = pay(&summary(own, "100", "Every_Full_Moon"));
    assert!(rate(&unknown).is_none() && unknown.state.hides_pay);
    assert_eq!(rate(&pay(&summary(own, "0", "Annual"))), None, "nobody entered it");
}

#[test]
fn a_person_reads_in_the_old_form_and_in_the_new() {
    let contact = |kind: &str, address: &str, primary: &str| {
        format!(
            "<wd:Email_Address_Data><wd:Email_Address>{address}</wd:Email_Address><wd:Usage_Data wd:Public=\"1\"><wd:Type_Data wd:Primary=\"{primary}\">{}\
             </wd:Type_Data></wd:Usage_Data></wd:Email_Address_Data>",
            reference("Type_Reference", "Communication_Usage_Type_ID", kind)
        )
    };
    let phone = |device: &str, number: &str| {
        format!(
            "<wd:Phone_Data wd:E164_Formatted_Phone=\"{number}\">{}<wd:Usage_Data><wd:Type_Data wd:Primary=\"1\">{}</wd:Type_Data></wd:Usage_Data></wd:Phone_Data>",
            reference("Phone_Device_Type_Reference", "Phone_Device_Type_ID", device),
            reference("Type_Reference", "Communication_Usage_Type_ID", "WORK")
        )
    };
    let contacts = [
        contact("HOME", "ada@home.example", "1"),
        contact("WORK", "second@acme.example", "0"),
        contact("WORK", "ada@acme.example", "true"),
        phone("Mobile", "+966555055555"),
        phone("Telephone", "+966112233445"),
    ]
    .concat();
    let names = "<wd:Name_Data><wd:Legal_Name_Data><wd:Name_Detail_Data><wd:First_Name>Ada</wd:First_Name><wd:Last_Name>Rossi</wd:Last_Name>\
         </wd:Name_Detail_Data></wd:Legal_Name_Data><wd:Preferred_Name_Data><wd:Name_Detail_Data><wd:First_Name>Addie</wd:First_Name>\
         </wd:Name_Detail_Data></wd:Preferred_Name_Data></wd:Name_Data>";
    let gender = reference("Gender_Reference", "Gender_Code", "Female");
    let born = "<wd:Birth_Date>1960-01-01-07:00</wd:Birth_Date>";
    let old = format!(
        "<wd:Personal_Data>{names}{gender}{born}<wd:Contact_Data>{contacts}</wd:Contact_Data></wd:Personal_Data>"
    );
    let new = format!(
        "<wd:Personal_Data>{names}<wd:Personal_Information_Data><wd:Personal_Information_For_Country_Data><wd:Country_Personal_Information_Data>\
         {gender}</wd:Country_Personal_Information_Data></wd:Personal_Information_For_Country_Data>{born}</wd:Personal_Information_Data>\
         <wd:Contact_Data>{contacts}</wd:Contact_Data></wd:Personal_Data>"
    );
    for data in [old, new] {
        let Person {
            first_name,
            last_name,
            preferred_name,
            work_email,
            work_phone,
            mobile_phone,
            gender,
            date_of_birth,
            ethnicity,
        } = worker(&data, "2026-01-01").person;
        let said = |text: &str| Some(Some(text.to_owned()));
        assert_eq!(
            (first_name, last_name, preferred_name),
            (said("Ada"), said("Rossi"), said("Addie"))
        );
        assert_eq!(
            (work_email, mobile_phone),
            (said("ada@acme.example"), said("+966555055555"))
        );
        assert_eq!(work_phone, said("+966112233445"));
        assert_eq!(
            (gender, date_of_birth),
            (said("Female"), Some(Some(date("1960-01-01"))))
        );
        assert_eq!(ethnicity, None, "not to be seen");
    }
    let shown = format!(
        "{:?}",
        worker("<wd:User_ID>ada@acme.example</wd:User_ID>", "2026-01-01")
    );
    assert_eq!(shown, "Worker { .. }");
}

#[test]
fn the_log_names_days_but_not_of_what_was_taken_back() {
    let entry = |day: &str, rescinded: u8| {
        format!(
            "<wd:Transaction_Log_Entry><wd:Transaction_Log_Data><wd:Transaction_Effective_Moment>{day}T00:00:00.000-08:00</wd:Transaction_Effective_Moment>\
             <wd:Is_Rescind_Or_Rescinded>{rescinded}</wd:Is_Rescind_Or_Rescinded></wd:Transaction_Log_Data></wd:Transaction_Log_Entry>"
        )
    };
    let entries = [entry("2024-05-01", 0), entry("2025-05-01", 1)].concat();
    let data = format!("<wd:Transaction_Log_Entry_Data>{entries}</wd:Transaction_Log_Entry_Data>");
    assert_eq!(worker(&data, "2026-01-01").log, [date("2024-05-01")].into());
}

#[test]
fn a_contingent_worker_is_no_employee() {
    let xml = "<Worker><Worker_Reference><ID type=\"Contingent_Worker_ID\">C-1</ID></Worker_Reference></Worker>";
    let read = document(xml).expect("XML");
    assert!(super::read(read.root_element(), date("2026-01-01"), &account()).is_none());
}
